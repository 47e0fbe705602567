package main

import (
	"fmt"
	"path/filepath"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/driver"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/kube"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/reconcile"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
)

func (p *process) newNode() (*driver.NodeConfig, error) {
	o := p.options
	metrics := p.telemetry.Metrics()
	dir, err := o.stateDir()
	if err != nil {
		return nil, err
	}
	records, err := stage.Open(recordsDir(dir))
	if err != nil {
		return nil, err
	}
	p.lockRecords(filepath.Join(dir, "lock"))
	machine, err := machineID(dir)
	if err != nil {
		return nil, err
	}
	id, err := driver.NewNodeID(o.driverName, o.clusterID, o.nodeID, machine)
	if err != nil {
		return nil, fmt.Errorf("--node-id: %w", err)
	}
	p.nodeID = id.String()
	fabrics, err := nvme.New(nvme.Config{HostNQN: id.HostNQN(), Metrics: metrics, Log: p.log})
	if err != nil {
		return nil, err
	}
	p.controllers = reconcile.NewControllers(fabrics, metrics, p.log)
	if err := metrics.ObserveNVMeControllers(p.controllers.States); err != nil {
		return nil, err
	}
	boot, err := host.BootID()
	if err != nil {
		return nil, err
	}
	mounter := mount.New(mount.Config{
		Kernel: host.NewMounts(), Tools: host.NewRunner(), Devices: host.Devices{}, Filesystems: host.Filesystems{},
		Metrics: metrics, Log: p.log,
	})
	node := &driver.NodeConfig{ID: id, BootID: boot, NVMe: fabrics, Records: records, MaxVolumes: o.maxVolumes, Tracer: p.telemetry.Tracer(), Mounter: mounter}
	if p.api != nil {
		node.DetachedGrace = o.detachedGrace
		node.Attachments, node.Events = kube.NewAttachments(p.api, o.driverName, o.nodeID), p.posts
	}
	if o.devLoopDir == "" {
		p.watchShutdown(records, mounter, fabrics)
		return node, nil
	}
	node.Dev, err = nvme.NewLoop(nvme.LoopConfig{Dir: o.devLoopDir, HostNQN: id.HostNQN(), Metrics: metrics, Log: p.log})
	return node, err
}

// lockRecords says so if another node plugin has the records. It is no reason not to start: one that was
// killed is there, and has them, until the umount ends in which it hangs, and its node needs a plugin.
func (p *process) lockRecords(path string) {
	lock, err := host.Lock(path)
	if err != nil {
		p.log.Warn("another node plugin has the same records; if it does not hang in the kernel, stop one of the two", zap.Error(err))
		return
	}
	p.lock = lock
}

// watchStaged makes the loop that looks after what this node has staged.
func (p *process) watchStaged() error {
	cfg := reconcile.NodeConfig{Volumes: p.driver.Staged(), Metrics: p.telemetry.Metrics(), Tracer: p.telemetry.Tracer(), Log: p.log}
	if p.posts != nil {
		cfg.Events = p.posts
	}
	var err error
	if p.events, err = nvme.KernelEvents(); err != nil {
		p.log.Warn("no kernel events: lost devices are noticed a little later", zap.Error(err))
	} else {
		cfg.Wake = p.events.Wake()
	}
	p.staged = reconcile.NewNode(cfg)
	return cfg.Metrics.ObserveMounts(p.staged.Check)
}

// watchShutdown has run look after sessions when the machine shuts down. Loop devices have none.
func (p *process) watchShutdown(records *stage.Store, mounter *mount.Mounter, fabrics *nvme.Host) {
	p.logind = host.NewLogind(p.options.systemBus, p.log)
	p.shutdown = reconcile.NewShutdown(reconcile.ShutdownConfig{
		Records: records, Mounts: mounter, Sessions: fabrics, CtrlLossTmo: driver.CtrlLossTmo, Log: p.log,
	})
}

// stateDir is where the node keeps what must outlive the plugin.
func (o *options) stateDir() (string, error) {
	if o.pluginDir != "" {
		return o.pluginDir, nil
	}
	socket, err := socketPath(o.endpoint)
	return filepath.Dir(socket), err
}

// recordsDir is where stage records are in a plugin directory.
func recordsDir(pluginDir string) string { return filepath.Join(pluginDir, "stage") }

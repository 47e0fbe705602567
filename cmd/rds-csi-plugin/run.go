package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/driver"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/kube"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/reconcile"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry/export"
)

const (
	// stopGrace is how long calls under way may take after SIGTERM before they are cancelled.
	stopGrace = 20 * time.Second
	// flushGrace bounds the last export of traces, metrics and log lines.
	flushGrace = 5 * time.Second
)

// serve runs the driver until ctx ends.
func serve(ctx context.Context, o *options, stderr io.Writer) error {
	log, level, err := newLogger(stderr, o.logLevel, o.logFormat)
	if err != nil {
		return usageError{err}
	}
	defer func() { _ = log.Sync() }() // stderr of a terminal or pipe cannot be synced: nothing is lost
	api, err := openKube(o, log)
	if err != nil {
		return err
	}
	if err := o.findCluster(ctx, api, log); err != nil {
		return err
	}
	p, err := newProcess(ctx, o, api, log, level, nil)
	if err != nil {
		return err
	}
	listener, err := listen(o.endpoint)
	if err != nil {
		return errors.Join(err, p.close(ctx))
	}
	return p.run(ctx, listener)
}

// process is the driver with all that runs around it.
type process struct {
	options     *options
	log         *zap.Logger
	level       *telemetry.LogLevel
	telemetry   *export.Telemetry
	driver      *driver.Driver
	backend     *reconcile.Backend     // nil without a controller
	orphans     *reconcile.Orphans     // nil without a controller, and without an API server
	console     *routeros.Client       // nil without a controller
	nodeID      string                 // as NodeGetInfo gives it; "" without a node
	staged      *reconcile.Node        // nil without a node
	controllers *reconcile.Controllers // nil without a node
	lock        io.Closer              // of the node's records; nil without one
	events      nvme.Wakeups           // nil without a node, or where the kernel's events cannot be had
	shutdown    *reconcile.Shutdown    // nil without a node, and with --dev-loop-dir
	logind      *host.Logind           // nil without a node, and with --dev-loop-dir
	api         *kube.Client           // nil without an API server
	posts       *kube.Events           // nil without an API server
}

// newProcess wires the driver from the leaves up. Nothing listens, dials or runs before run.
func newProcess(ctx context.Context, o *options, api *kube.Client, log *zap.Logger, level *telemetry.LogLevel, collect *export.Collector) (*process, error) {
	p := &process{options: o, api: api, level: level}
	var err error
	p.telemetry, err = export.Setup(ctx, export.Config{
		Service: "rds-csi" + o.suffix(), Component: o.component(), Version: version, Revision: buildRevision(),
		MetricsAddress: o.metrics.address, TLSCert: o.metrics.tlsCert, TLSKey: o.metrics.tlsKey, NativeHistograms: o.metrics.native,
		Pprof: o.metrics.pprof, Log: log, LogLevel: level, Ready: p.ready, Collect: collect,
	})
	if err != nil {
		return nil, err
	}
	p.log = p.telemetry.Logger()
	p.newEvents()
	cfg := driver.DriverConfig{
		Name: o.driverName, Version: version, ArrayName: o.arrayName, Metrics: p.telemetry.Metrics(), Log: p.log,
	}
	cfg.ServerOptions = append(cfg.ServerOptions, p.telemetry.ServerOption())
	if o.controller {
		if cfg.Controller, err = p.newController(); err != nil {
			return nil, err
		}
	}
	if o.node {
		if cfg.Node, err = p.newNode(); err != nil {
			return nil, err
		}
	}
	if p.driver, err = driver.NewDriver(cfg); err != nil || !o.node {
		return p, err
	}
	return p, p.watchStaged()
}

func (o *options) component() string {
	switch {
	case o.controller && o.node:
		return "both"
	case o.controller:
		return "controller"
	default:
		return "node"
	}
}

func (o *options) suffix() string {
	if o.controller && o.node {
		return ""
	}
	return "-" + o.component()
}

func (p *process) ready() (bool, string) {
	if p.backend == nil {
		return true, ""
	}
	return p.backend.Ready()
}

func (p *process) newController() (*driver.ControllerConfig, error) {
	o := p.options
	metrics := p.telemetry.Metrics()
	var err error
	if p.console, err = o.rds.console(metrics, p.log); err != nil {
		return nil, err
	}
	acl := o.rds.hostACL == "on"
	if !acl {
		p.log.Warn("--rds-host-acl is off: volumes cannot be shared by nodes, and any host that learns an NQN can connect to it")
	}
	array := rds.New(rds.Config{Console: p.console, Cluster: o.clusterID, Pool: o.rds.pool, Port: o.nvmePort, HostACL: acl})
	p.backend = reconcile.NewBackend(array, o.arrayName, p.telemetry.Tracer(), p.log)
	p.backendWithKube()
	if err := metrics.ObserveBackend(o.arrayName, p.backend.Check); err != nil {
		return nil, err
	}
	return &driver.ControllerConfig{Array: array, ClusterID: o.clusterID, HostACL: acl, Addresses: o.nvmeAddresses(), Port: o.nvmePort}, nil
}

// run serves until ctx ends, then stops in order: no new calls, calls under way, loops, array, telemetry.
func (p *process) run(ctx context.Context, listener net.Listener) error {
	loops, stopLoops := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLoops()
	p.telemetry.Start(loops)
	var running sync.WaitGroup
	signals, stopSignals := levelSignals()
	defer stopSignals()
	running.Go(func() { p.watchLevel(loops, signals) })
	if p.backend != nil {
		running.Go(func() { p.backend.Run(loops) })
	}
	if p.staged != nil {
		running.Go(func() { p.staged.Run(loops) })
		running.Go(func() { p.controllers.Run(loops) })
	}
	if p.api != nil {
		p.runKube(loops, &running)
	}
	if p.shutdown != nil {
		told := make(chan bool)
		running.Go(func() { p.logind.Watch(loops, told) })
		running.Go(func() { p.shutdown.Run(loops, told) })
	}
	var err error
	failed := make(chan error, 1)
	running.Go(func() { failed <- p.driver.Serve(listener) })
	p.log.Info("serving CSI", zap.String("endpoint", p.options.endpoint), zap.String("component", p.options.component()), zap.String("version", version))
	select {
	case <-ctx.Done():
		p.log.Info("stopping: no new calls, and those under way have " + stopGrace.String())
	case err = <-failed:
	}
	p.stopCalls()
	stopLoops()
	running.Wait()
	return errors.Join(err, p.close(ctx))
}

func (p *process) stopCalls() {
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	p.driver.Stop(ctx)
}

// close gives back connections and flushes telemetry; a collector that is away costs flushGrace at most.
func (p *process) close(ctx context.Context) error {
	var err error
	if p.console != nil {
		err = p.console.Close()
	}
	if p.events != nil {
		err = errors.Join(err, p.events.Close())
	}
	if p.lock != nil {
		err = errors.Join(err, p.lock.Close())
	}
	if p.api != nil {
		p.api.Close()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushGrace)
	defer cancel()
	if flushErr := p.telemetry.Shutdown(ctx); flushErr != nil {
		p.log.Warn("the last traces, metrics or log lines may be lost", zap.Error(flushErr))
	}
	return err
}

// listen makes the CSI socket. One that an earlier process left is taken over; anything else in
// its place is left alone.
func listen(endpoint string) (net.Listener, error) {
	path, err := socketPath(endpoint)
	if err != nil {
		return nil, err
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&os.ModeSocket == 0 {
			return nil, fmt.Errorf("--endpoint: %s is there and no socket", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("--endpoint: remove the old socket: %w", err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("--endpoint: %w", err)
	}
	return l, nil
}

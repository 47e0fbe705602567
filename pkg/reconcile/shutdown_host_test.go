package reconcile_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme/nvmetest"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/reconcile"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
)

// kernelTable is the fake kernel's mount table, whose paths are canonical.
type kernelTable struct{ *nvmetest.Kernel }

func (kernelTable) Canonical(path string) (string, error) { return path, nil }

// The same over the fake kernel and real records, which the driver itself works with.
func TestShutdownOverSysfsAndRecords(t *testing.T) {
	const nqn = "nqn.2000-02.com.mikrotik:csi-v.0a1b2c3d"
	k := nvmetest.NewKernel(t, nvmetest.Options{Multipath: true})
	k.Export(nvmetest.Subsystem{NQN: nqn, Hosts: []string{nvmetest.HostNQN}, Size: 1 << 20})
	fabrics, err := nvme.New(k.Config())
	if err != nil {
		t.Fatal(err)
	}
	dev, err := fabrics.Connect(t.Context(), nvme.Target{
		NQN: nqn, HostNQN: nvmetest.HostNQN, HostID: nvmetest.HostID, Portals: []nvme.Portal{k.AddPortal()},
		Options: nvme.Options{NrIOQueues: 2, CtrlLossTmo: -1, ReconnectDelay: 2, KeepAliveTmo: 5, FastIOFailTmo: -1},
	})
	if err != nil {
		t.Fatal(err)
	}
	k.Mount(host.MountPoint{Dev: dev.Num, Root: "/", Path: "/staging", FSType: "xfs"})
	records, err := stage.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := records.Save(&stage.Record{
		VolumeID: "rds/v", NQN: nqn, HostNQN: nvmetest.HostNQN, DevNum: dev.Num.String(), StagingPath: "/staging",
		Context: map[string]string{"ctrlLossTmo": "-1"},
	}); err != nil {
		t.Fatal(err)
	}
	s := reconcile.NewShutdown(reconcile.ShutdownConfig{
		Records: records, Mounts: kernelTable{k}, Sessions: fabrics, CtrlLossTmo: ownCtrlLossTmo, Log: zap.NewNop(),
	})
	told, ended := make(chan bool), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer func() { cancel(); <-ended }()
	go func() {
		defer close(ended)
		s.Run(ctx, told)
	}()
	loss := func() string {
		text, err := os.ReadFile(filepath.Join(k.Config().Sys, "class/nvme", dev.Controller, "ctrl_loss_tmo"))
		if err != nil {
			t.Error(err)
		}
		return strings.TrimSpace(string(text))
	}
	told <- true
	told <- true // taken only once the first was acted on
	if got := loss(); got != "off" {
		t.Errorf("live and mounted: %s", got)
	}
	k.SetState(dev.Controller, "connecting")
	told <- true
	await(t, "its array is away: lowered", func() bool { return loss() == "6" })
	told <- false
	await(t, "called off: restored", func() bool { return loss() == "off" })
}

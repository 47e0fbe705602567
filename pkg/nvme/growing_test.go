package nvme_test

import (
	"path/filepath"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme/nvmetest"
)

// growing is a machine on which the volume grows right before its node is opened, once.
type growing struct {
	*nvmetest.Kernel
	grow func()
}

func (g *growing) Identify(path string) (host.DevNum, uint64, error) {
	if grow := g.grow; grow != nil {
		g.grow = nil
		grow()
	}
	return g.Kernel.Identify(path)
}

func TestFindSeesAVolumeThatGrowsAtThisMoment(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	d, err := r.host.Connect(t.Context(), r.target)
	if err != nil {
		t.Fatal(err)
	}
	machine := &growing{Kernel: r.Kernel, grow: func() {
		r.Resize(volume, 16*mib)
		if err := r.Set(filepath.Join(r.Config().Sys, "class/nvme", d.Controller, "rescan_controller"), "1"); err != nil {
			t.Error(err)
		}
	}}
	cfg := r.Config()
	cfg.Devices = machine
	found, err := newHost(t, cfg).Find(t.Context(), volume, nvmetest.HostNQN)
	if err != nil || found.Size != 16*mib || found.Num != d.Num {
		t.Errorf("find gave %+v, %v; want 16 MiB of device %s", found, err, d.Num)
	}
}

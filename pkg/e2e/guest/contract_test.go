package guest

import (
	"context"
	"strconv"
	"testing"
	"time"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount/mounttest"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme/nvmetest"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// The contract that the fake kernels of the unit tests keep, on this one.
func TestNVMeContract(t *testing.T) {
	nvmetest.RunContract(t, func(t *testing.T) nvmetest.Setup {
		g := newTarget(t)
		return nvmetest.Setup{Connector: newHost(t), Array: g, Portal: g.portal(), Hold: func(path string) func() { return hold(t, path) }}
	})
}

func newHost(t *testing.T) *nvme.Host {
	t.Helper()
	h, err := nvme.New(nvme.Config{HostNQN: nvmetest.HostNQN})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// hold opens the device exclusively until release.
func hold(t *testing.T, path string) (release func()) {
	t.Helper()
	device, err := host.OpenBlock(path, true, false)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := device.Close(); err != nil {
			t.Error(err)
		}
	}
}

// The same for file systems, on NVMe/TCP devices.
func TestMountContract(t *testing.T) {
	mounttest.RunContract(t, func(t *testing.T) mounttest.Setup {
		disks := &disks{target: newTarget(t), host: newHost(t), nqns: map[string]string{}}
		return mounttest.Setup{Config: mountConfig(), NewDisk: disks.make, GrowDisk: disks.grow, LargeSectors: true, GrowsExt4Online: true}
	})
}

func mountConfig() mount.Config {
	return mount.Config{
		Kernel: host.NewMounts(), Tools: host.NewRunner(), Devices: host.Devices{}, Filesystems: host.Filesystems{},
		Metrics: telemetry.Noop(), Log: zap.NewNop(),
	}
}

// disks are volumes of the target, connected.
type disks struct {
	target *target
	host   *nvme.Host
	nqns   map[string]string // by path
}

func (d *disks) make(t *testing.T, size uint64) mounttest.Disk {
	t.Helper()
	nqn := "nqn.test:disk" + strconv.Itoa(len(d.nqns))
	d.target.Export(nvmetest.Subsystem{NQN: nqn, Size: size})
	device, err := d.host.Connect(program.Soon(t), volumeTarget(nqn, d.target.portal()))
	if err != nil {
		t.Fatal(err)
	}
	d.nqns[device.Path] = nqn
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := d.host.Disconnect(ctx, nqn, nvmetest.HostNQN, telemetry.DisconnectUnstage); err != nil {
			t.Error(err)
		}
	})
	return mounttest.Disk{Path: device.Path, Num: device.Num}
}

func (d *disks) grow(t *testing.T, disk mounttest.Disk, size uint64) {
	t.Helper()
	nqn := d.nqns[disk.Path]
	d.target.Resize(nqn, size)
	// Not Rescan: the contract makes a device smaller, too.
	program.Await(t, "the device has its new size", func() bool {
		device, err := d.host.Find(program.Soon(t), nqn, nvmetest.HostNQN)
		return err == nil && device.Size == size
	})
}

// volumeTarget has the options that the driver uses by default.
func volumeTarget(nqn string, p nvme.Portal) nvme.Target {
	return nvme.Target{
		NQN: nqn, HostNQN: nvmetest.HostNQN, HostID: nvmetest.HostID, Portals: []nvme.Portal{p},
		Options: nvme.Options{NrIOQueues: 2, CtrlLossTmo: -1, ReconnectDelay: 2, KeepAliveTmo: 5, FastIOFailTmo: -1},
	}
}

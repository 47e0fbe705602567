package mount_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount/mounttest"
)

func TestCheckTellsRepairedFromDamaged(t *testing.T) {
	n := newNode(t)
	if _, err := n.format(t.Context(), &record{}); err != nil {
		t.Fatal(err)
	}
	n.SetState(device, mounttest.Dirty)
	if err := n.m.Check(t.Context(), device, number(), "ext4", alive); err != nil {
		t.Errorf("repaired: %v", err)
	}
	if n.log.FilterMessage("file system repaired").Len() != 1 {
		t.Error("nobody was told of the repair")
	}
	n.SetState(device, mounttest.Corrupt)
	if err := n.m.Check(t.Context(), device, number(), "ext4", alive); fault.ReasonOf(err) != fault.FSCorrupt || !strings.Contains(err.Error(), "e2fsck -f "+device) {
		t.Errorf("damaged: %v", err)
	}
	_, err := n.m.Mount(t.Context(), mount.MountRequest{Device: device, Num: number(), Target: filepath.Join(n.dir, "stage"), Live: alive})
	if fault.ReasonOf(err) != fault.FSCorrupt {
		t.Errorf("mount of the damaged: %v", err)
	}
	n.KillDisk(device)
	if err := n.m.Check(t.Context(), device, number(), "ext4", alive); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("dead: %v", err)
	}
}

func TestCheckTellsAnUnreadableDeviceFromALostSuperblock(t *testing.T) {
	n := newNode(t)
	if err := n.m.Check(t.Context(), device, number(), "ext4", alive); fault.ReasonOf(err) != fault.FSCorrupt {
		t.Errorf("no superblock: %v", err)
	}
	n.FailReads(device, 1024)
	if err := n.m.Check(t.Context(), device, number(), "ext4", alive); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("unreadable: %v", err)
	}
}

func TestXFSCloneMountsBesideItsSource(t *testing.T) {
	n := newNode(t)
	twin := host.DevNum{Major: 259, Minor: 7}
	n.AddDisk("/dev/nvme7n1", twin, size)
	if _, err := n.m.EnsureFormatted(t.Context(), mount.FormatRequest{
		Device: device, Num: number(), FSType: "xfs", Blank: true, Journal: &record{}, Live: alive,
	}); err != nil {
		t.Fatal(err)
	}
	copyHead(t, n.Kernel, device, "/dev/nvme7n1")
	for path, num := range map[string]host.DevNum{device: number(), "/dev/nvme7n1": twin} {
		target := filepath.Join(n.dir, filepath.Base(path))
		if _, err := n.m.Mount(t.Context(), mount.MountRequest{Device: path, Num: num, Target: target, FSType: "xfs", Live: alive}); err != nil {
			t.Error(err)
		}
	}
}

func copyHead(t *testing.T, k *mounttest.Kernel, from, to string) {
	t.Helper()
	source, err := k.Devices().Open(from, false, false)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	target, err := k.Devices().Open(to, false, true)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	head := make([]byte, 4096)
	if _, err := source.ReadAt(head, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := target.WriteAt(head, 0); err != nil {
		t.Fatal(err)
	}
}

func TestAtSeesThroughALinkedDirectory(t *testing.T) {
	n := newNode(t)
	n.stage(t)
	link := filepath.Join(t.TempDir(), "kubelet")
	if err := os.Symlink(n.dir, link); err != nil {
		t.Fatal(err)
	}
	if there, found, err := n.m.At(link + "/stage"); err != nil || !found || there.Dev != number() {
		t.Errorf("At = %+v, %v, %v", there, found, err)
	}
	if noop, err := n.m.Unmount(t.Context(), link+"/stage", all); err != nil || noop {
		t.Errorf("Unmount = %v, %v", noop, err)
	}
}

func TestNoopGrowthRunsNoTool(t *testing.T) {
	n := newNode(t)
	path := n.stage(t)
	before := len(n.Calls())
	if noop, err := n.m.Grow(t.Context(), mount.GrowRequest{Device: device, Num: number(), Mountpoint: path, FSType: "ext4", Live: alive}); err != nil || !noop {
		t.Errorf("Grow = %v, %v", noop, err)
	}
	if calls := n.Calls()[before:]; len(calls) != 0 {
		t.Errorf("ran %v", calls)
	}
}

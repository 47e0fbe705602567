package mount_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
)

func TestAProbeThatHangsHoldsNobody(t *testing.T) {
	n := newNode(t)
	release := n.Hang("read", device)
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if formatted, err := n.format(ctx, &record{}); formatted || fault.KindOf(err) != fault.Unavailable && fault.KindOf(err) != fault.Busy {
			t.Errorf("format = %v, %v", formatted, err)
		}
		cancel()
	}
	release()
	if formatted, err := n.format(t.Context(), &record{}); !formatted || err != nil {
		t.Errorf("after the hang: %v, %v", formatted, err)
	}
}

func TestAnUmountThatHangsIsReportedAndNotForced(t *testing.T) {
	n := newNode(t)
	path := n.stage(t)
	release := n.Hang("umount", path)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := n.m.Unmount(ctx, path, all)
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "still hangs") {
		t.Errorf("error = %v", err)
	}
	if _, found, _ := n.m.At(path); !found {
		t.Error("the mount is gone")
	}
	release()
	if _, err := n.m.Unmount(t.Context(), path, all); err != nil {
		t.Errorf("after the hang: %v", err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the directory is still there: %v", err)
	}
}

func TestBusyUnmount(t *testing.T) {
	n := newNode(t)
	path := n.stage(t)
	n.SetBusy(path, true)
	if _, err := n.m.Unmount(t.Context(), path, all); fault.ReasonOf(err) != fault.MountBusy {
		t.Errorf("error = %v", err)
	}
	n.SetBusy(path, false)
	if noop, err := n.m.Unmount(t.Context(), path, all); err != nil || noop {
		t.Errorf("unmount = %v, %v", noop, err)
	}
}

func TestStatsOfAHangingAndOfADeadDevice(t *testing.T) {
	n := newNode(t)
	path := n.stage(t)
	release := n.Hang("statfs", path)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := n.m.Stats(ctx, path); fault.KindOf(err) != fault.Timeout {
		t.Errorf("hanging: %v", err)
	}
	release()
	if stats, err := n.m.Stats(t.Context(), path); err != nil || stats.TotalBytes != size {
		t.Errorf("after the hang: %+v, %v", stats, err)
	}
	n.KillDisk(device)
	if _, err := n.m.Stats(t.Context(), path); fault.ReasonOf(err) != fault.StaleMount {
		t.Errorf("dead: %v", err)
	}
}

func TestDeadMountIsNotTakenForTheNewDevice(t *testing.T) {
	n := newNode(t)
	path := n.stage(t)
	n.KillDisk(device)
	reborn := host.DevNum{Major: 259, Minor: 2}
	n.AddDisk("/dev/nvme0n2", reborn, size)
	_, err := n.m.Mount(t.Context(), mount.MountRequest{Device: "/dev/nvme0n2", Num: reborn, Target: path, FSType: "ext4", Live: alive})
	if fault.KindOf(err) != fault.Precondition {
		t.Errorf("mount over a dead one: %v", err)
	}
	_, err = n.m.Bind(t.Context(), mount.BindRequest{Source: path, Target: filepath.Join(n.dir, "target"), Num: reborn, Live: alive})
	if fault.ReasonOf(err) != fault.StaleMount {
		t.Errorf("publish of a dead mount: %v", err)
	}
	if _, err := n.m.Unmount(t.Context(), path, all); err != nil {
		t.Errorf("unmount of a dead mount: %v", err)
	}
}

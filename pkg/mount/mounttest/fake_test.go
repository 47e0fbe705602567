package mounttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// complaints is a test that is expected to fail.
type complaints struct {
	testing.TB
	said []string
}

func (c *complaints) Errorf(format string, args ...any) {
	c.said = append(c.said, fmt.Sprintf(format, args...))
}

const device = "/dev/nvme0n1"

func newKernel(t *testing.T) (*Kernel, *complaints) {
	c := &complaints{TB: t}
	k := New(c)
	k.AddDisk(device, host.DevNum{Major: 259, Minor: 1}, 512<<20)
	return k, c
}

func exitCode(err error) int {
	if failed, ok := errors.AsType[*host.ExitError](err); ok {
		return failed.Code
	}
	return 0
}

func TestMkfsOnDataFailsTheTest(t *testing.T) {
	k, c := newKernel(t)
	d, err := k.Devices().Open(device, false, true)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.WriteAt([]byte("data"), 300<<20+5); err != nil {
		t.Fatal(err)
	}
	_, err = k.Tools().Run(t.Context(), "mkfs.ext4", "-F", device)
	if exitCode(err) != 1 || len(c.said) != 1 || !strings.Contains(c.said[0], "holds data") {
		t.Errorf("mkfs = %v, the test was told %q", err, c.said)
	}
}

func TestMkfsIsRefusedWhileTheDiskIsHeld(t *testing.T) {
	k, _ := newKernel(t)
	holder, err := k.Devices().Open(device, true, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Tools().Run(t.Context(), "mkfs.ext4", "-F", device); exitCode(err) != 1 {
		t.Errorf("mkfs on a held disk = %v", err)
	}
	if _, err := k.Devices().Open(device, true, false); !errors.Is(err, unix.EBUSY) {
		t.Errorf("second exclusive open = %v", err)
	}
	if err := holder.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Tools().Run(t.Context(), "mkfs.ext4", "-F", device); err != nil {
		t.Errorf("mkfs = %v", err)
	}
}

func TestMountTwiceAtOnePlaceIsBusy(t *testing.T) {
	k, c := newKernel(t)
	if _, err := k.Tools().Run(t.Context(), "mkfs.ext4", "-F", device); err != nil {
		t.Fatal(err)
	}
	first, second := t.TempDir(), t.TempDir()
	for _, step := range []struct {
		target, fsType string
		options        []string
		want           error
	}{
		{first, "xfs", nil, unix.EINVAL},
		{first, "vfat", nil, unix.ENODEV},
		{first + "/none", "ext4", nil, unix.ENOENT},
		{first, "ext4", []string{"nouuid"}, unix.EINVAL},
		{first, "ext4", nil, nil},
		{first, "ext4", nil, unix.EBUSY},
		{second, "ext4", []string{"ro"}, unix.EBUSY},
		{second, "ext4", nil, nil},
	} {
		if err := k.Mount(device, step.target, step.fsType, step.options); !errors.Is(err, step.want) {
			t.Errorf("mount %s %v at %s = %v, want %v", step.fsType, step.options, step.target, err, step.want)
		}
	}
	k.DetachDisk(device)
	if len(c.said) != 1 || !strings.Contains(c.said[0], "in use") {
		t.Errorf("detach of a mounted disk: the test was told %q", c.said)
	}
}

// As on a real disk: fsck -p does not mend what a killed resize2fs leaves.
func TestAKilledOfflineResizeLeavesDamage(t *testing.T) {
	k, _ := newKernel(t)
	for _, command := range [][]string{{"mkfs.ext4", "-F", device}, {"fsck.ext4", "-f", "-p", device}} {
		if _, err := k.Tools().Run(t.Context(), command[0], command[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	release := k.Hang("resize2fs", device)
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := k.Tools().Run(ctx, "resize2fs", device); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("killed resize2fs = %v", err)
	}
	if _, err := k.Tools().Run(t.Context(), "fsck.ext4", "-p", device); exitCode(err) != 4 {
		t.Errorf("fsck = %v", err)
	}
}

func TestRemountSetsExactlyTheFlagsItIsGiven(t *testing.T) {
	k, _ := newKernel(t)
	source, target := t.TempDir(), t.TempDir()
	if err := k.Mount("", target, "", []string{"remount", "bind", "ro"}); !errors.Is(err, unix.EINVAL) {
		t.Errorf("remount of nothing = %v", err)
	}
	if err := k.Bind(source, target, false); err != nil {
		t.Fatal(err)
	}
	for _, options := range [][]string{{"ro", "nosuid"}, {"ro"}} {
		if err := k.Mount("", target, "", append([]string{"remount", "bind"}, options...)); err != nil {
			t.Fatal(err)
		}
		if table, err := k.Table(); err != nil || len(table) != 1 || !slices.Equal(table[0].Options, options) {
			t.Errorf("mounts %+v, %v; want one with %v", table, err, options)
		}
	}
}

func TestADiskComesBackWithItsContents(t *testing.T) {
	k, c := newKernel(t)
	backing := k.disks[device].file.Name()
	if _, err := k.Tools().Run(t.Context(), "mkfs.xfs", device); err != nil {
		t.Fatal(err)
	}
	k.DetachDisk(device)
	if _, err := k.Devices().Open(device, false, false); !errors.Is(err, unix.ENOENT) {
		t.Errorf("open of a detached disk = %v", err)
	}
	again := host.DevNum{Major: 259, Minor: 4}
	k.AttachDisk("/dev/nvme3n1", again, backing)
	if result, err := k.Tools().Run(t.Context(), "blkid", "-p", "-o", "export", "/dev/nvme3n1"); err != nil || !strings.Contains(result.Stdout, "TYPE=xfs") {
		t.Errorf("blkid = %+v, %v", result, err)
	}
	if len(c.said) != 0 {
		t.Errorf("the test was told %q", c.said)
	}
}

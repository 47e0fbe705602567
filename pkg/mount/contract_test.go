package mount_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount/mounttest"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

func fakeConfig(k *mounttest.Kernel) mount.Config {
	return mount.Config{
		Kernel: k, Tools: k.Tools(), Devices: k.Devices(), Filesystems: k.Filesystems(), SysResource: k.SysResource,
		Metrics: telemetry.Noop(), Log: zap.NewNop(),
	}
}

func TestContractOnTheFakeKernel(t *testing.T) {
	for name, weak := range map[string]bool{"privileged": false, "without CAP_SYS_RESOURCE": true} {
		t.Run(name, func(t *testing.T) {
			mounttest.RunContract(t, func(t *testing.T) mounttest.Setup {
				k := mounttest.New(t)
				if weak {
					k.DropSysResource()
				}
				return mounttest.Setup{
					Config: fakeConfig(k), NewDisk: fakeDisks(k), GrowsExt4Online: !weak,
					GrowDisk: func(_ *testing.T, d mounttest.Disk, size uint64) { k.GrowDisk(d.Path, size) },
				}
			})
		})
	}
}

func fakeDisks(k *mounttest.Kernel) func(*testing.T, uint64) mounttest.Disk {
	made := uint32(0)
	return func(_ *testing.T, size uint64) mounttest.Disk {
		made++
		d := mounttest.Disk{Path: "/dev/nvme" + strconv.Itoa(int(made)) + "n1", Num: host.DevNum{Major: 259, Minor: made}}
		k.AddDisk(d.Path, d.Num, size)
		return d
	}
}

// The same behaviour on the real kernel, with loop devices and the real tools.
func TestContractOnTheRealKernel(t *testing.T) {
	needRealTools(t)
	mayGrow, err := host.HasSysResource()
	if err != nil {
		t.Fatal(err)
	}
	mounttest.RunContract(t, func(t *testing.T) mounttest.Setup {
		return mounttest.Setup{Config: realConfig(), NewDisk: loopDisk, GrowDisk: growLoop, GrowsExt4Online: mayGrow}
	})
}

func needRealTools(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root: run the tests as root to exercise the real kernel")
	}
	for _, program := range []string{"losetup", "mkfs.xfs", "mkfs.btrfs"} {
		if _, err := host.NewRunner().Run(t.Context(), program, "--version"); err != nil && strings.Contains(err.Error(), host.ErrNotInstalled.Error()) {
			t.Skipf("%v: install util-linux, xfsprogs and btrfs-progs to exercise the real kernel", err)
		}
	}
}

func realConfig() mount.Config {
	return mount.Config{
		Kernel: host.NewMounts(), Tools: host.NewRunner(), Devices: host.Devices{}, Filesystems: host.Filesystems{},
		Metrics: telemetry.Noop(), Log: zap.NewNop(),
	}
}

func loopDisk(t *testing.T, size uint64) mounttest.Disk {
	t.Helper()
	backing := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(backing, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(backing, int64(size)); err != nil {
		t.Fatal(err)
	}
	path := strings.TrimSpace(losetup(t, "--find", "--show", backing))
	t.Cleanup(func() { losetup(t, "-d", path) })
	device, err := host.OpenBlock(path, false, false)
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	if err := device.SetReadOnly(false); err != nil { // the flag outlives a detach
		t.Fatal(err)
	}
	return mounttest.Disk{Path: path, Num: device.Num()}
}

func growLoop(t *testing.T, d mounttest.Disk, size uint64) {
	t.Helper()
	backing, err := os.ReadFile("/sys/block/" + filepath.Base(d.Path) + "/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(strings.TrimSpace(string(backing)), int64(size)); err != nil {
		t.Fatal(err)
	}
	losetup(t, "-c", d.Path)
}

// losetup also runs in clean-up, when the context of the test has ended.
func losetup(t *testing.T, args ...string) string {
	t.Helper()
	result, err := host.NewRunner().Run(context.WithoutCancel(t.Context()), "losetup", args...)
	if err != nil {
		t.Errorf("losetup %v: %v", args, err)
	}
	return result.Stdout
}

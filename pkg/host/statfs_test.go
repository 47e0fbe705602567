package host

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestStatfsCountsBytesAndInodes(t *testing.T) {
	dir := mountTmpfs(t, "size=1m", "nr_inodes=100")
	if err := os.WriteFile(dir+"/file", make([]byte, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	stats, err := Filesystems{}.Statfs(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := FSStats{
		TotalBytes: 1 << 20, AvailableBytes: 1<<20 - 64<<10, UsedBytes: 64 << 10,
		TotalInodes: 100, FreeInodes: 98, UsedInodes: 2,
	}
	if stats != want {
		t.Errorf("stats = %+v, want %+v", stats, want)
	}
}

func TestStatsOfCountsInFragments(t *testing.T) {
	stats := statsOf(&unix.Statfs_t{Bsize: 65536, Frsize: 4096, Blocks: 10, Bfree: 4, Bavail: 3, Files: 7, Ffree: 5})
	want := FSStats{TotalBytes: 40960, AvailableBytes: 12288, UsedBytes: 24576, TotalInodes: 7, FreeInodes: 5, UsedInodes: 2}
	if stats != want {
		t.Errorf("stats = %+v, want %+v", stats, want)
	}
}

func TestStatfsOfAMissingPath(t *testing.T) {
	if _, err := (Filesystems{}).Statfs(t.TempDir() + "/none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error = %v", err)
	}
}

// Both file systems are asked for real: the ioctl must give the size of the device they were made on.
func TestSizeOfMountedFileSystems(t *testing.T) {
	const size = 512 << 20
	for _, fsType := range []string{"xfs", "btrfs"} {
		t.Run(fsType, func(t *testing.T) {
			device, dir := loopDevice(t, size), t.TempDir()
			if _, err := NewRunner().Run(t.Context(), "mkfs."+fsType, "-q", device); err != nil {
				t.Skipf("needs mkfs.%s: %v", fsType, err)
			}
			if err := NewMounts().Mount(device, dir, fsType, nil); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unmountAll(t, dir) })
			got, err := Filesystems{}.Size(dir, fsType)
			if err != nil || got != size {
				t.Errorf("size = %d, %v; want %d", got, err, size)
			}
			if point, num := topmost(t, dir), openBlock(t, device, false, false).Num(); point.Dev != num {
				t.Errorf("mount table says device %v, want %v", point.Dev, num)
			}
		})
	}
}

func TestSizeRefusesOtherFileSystems(t *testing.T) {
	for _, fsType := range []string{"xfs", "btrfs", "ext4"} {
		if size, err := (Filesystems{}).Size(t.TempDir(), fsType); err == nil {
			t.Errorf("%s: size %d of what is no such file system", fsType, size)
		}
	}
}

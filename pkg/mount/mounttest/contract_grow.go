package mounttest

import (
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
)

const grownSize = diskSize + 256<<20

func growContract() []contractTest {
	return []contractTest{
		{"mounted xfs and btrfs fill their device", growMounted},
		{"growth through a published target", growPublished},
		{"unmounted ext4 fills its device if it cannot when mounted", growUnmounted},
		{"mounted ext4 grows or says which capability is missing", growExt4Mounted},
		{"what fills its device is a noop", growNoop},
		{"xfs and btrfs wait for their mount", growLater},
		{"a read-only mount or another path is refused", growRefused},
		{"a device that was made smaller is refused", growShrunk},
	}
}

func growRequest(d Disk, mountpoint, fsType string) mount.GrowRequest {
	return mount.GrowRequest{Device: d.Path, Num: d.Num, Mountpoint: mountpoint, FSType: fsType, Live: alive}
}

func (f *fixture) grow(t *testing.T, d Disk, mountpoint, fsType string, want bool) {
	t.Helper()
	if noop, err := f.m.Grow(t.Context(), growRequest(d, mountpoint, fsType)); err != nil || noop != want {
		t.Fatalf("Grow of %s at %q = %v, %v; want %v", fsType, mountpoint, noop, err, want)
	}
}

func (f *fixture) totalAt(t *testing.T, path string) uint64 {
	t.Helper()
	stats, err := f.m.Stats(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return stats.TotalBytes
}

func growMounted(t *testing.T, f *fixture) {
	for _, fsType := range []string{"xfs", "btrfs"} {
		d := f.disk(t)
		path := f.stage(t, d, fsType, fsType)
		before := f.totalAt(t, path)
		f.GrowDisk(t, d, grownSize)
		f.grow(t, d, path, fsType, false)
		if gained := f.totalAt(t, path) - before; gained < (grownSize-diskSize)*9/10 {
			t.Errorf("%s gained %d bytes of %d", fsType, gained, grownSize-diskSize)
		}
		f.grow(t, d, path, fsType, true)
	}
}

// NodeExpandVolume comes with the path of a pod, which is a bind mount.
func growPublished(t *testing.T, f *fixture) {
	for _, fsType := range []string{"xfs", "btrfs"} {
		d := f.disk(t)
		r := f.bind(d, f.stage(t, d, fsType, fsType), "target-"+fsType)
		f.published(t, r)
		f.GrowDisk(t, d, grownSize)
		f.grow(t, d, r.Target, fsType, false)
		f.grow(t, d, r.Source, fsType, true)
		f.unmount(t, r.Target)
	}
}

func growUnmounted(t *testing.T, f *fixture) {
	d := f.disk(t)
	path := f.stage(t, d, "ext4", "stage")
	before := f.totalAt(t, path)
	f.unmount(t, path)
	f.GrowDisk(t, d, grownSize)
	f.grow(t, d, "", "ext4", f.GrowsExt4Online) // what can be journalled waits for the mount
	f.grow(t, d, "", "ext4", true)
	f.mount(t, d, "ext4", "stage", false)
	f.grow(t, d, path, "ext4", !f.GrowsExt4Online)
	if gained := f.totalAt(t, path) - before; gained < (grownSize-diskSize)*9/10 {
		t.Errorf("gained %d bytes of %d", gained, grownSize-diskSize)
	}
	_, err := f.m.Grow(t.Context(), growRequest(d, "", "ext4"))
	wantKind(t, err, fault.Busy) // mounted, and asked as if it was not
}

func growExt4Mounted(t *testing.T, f *fixture) {
	d := f.disk(t)
	path := f.stage(t, d, "ext4", "stage")
	f.GrowDisk(t, d, grownSize)
	noop, err := f.m.Grow(t.Context(), growRequest(d, path, "ext4"))
	if f.GrowsExt4Online {
		if err != nil || noop {
			t.Errorf("Grow = %v, %v", noop, err)
		}
		return
	}
	wantKind(t, err, fault.Precondition)
	if err == nil || !strings.Contains(err.Error(), "CAP_SYS_RESOURCE") {
		t.Errorf("the error does not say what is missing: %v", err)
	}
}

func growNoop(t *testing.T, f *fixture) {
	for _, fsType := range []string{"ext4", "xfs", "btrfs"} {
		d := f.disk(t)
		f.grow(t, d, f.stage(t, d, fsType, fsType), fsType, true)
	}
}

func growLater(t *testing.T, f *fixture) {
	for _, fsType := range []string{"xfs", "btrfs"} {
		d := f.disk(t)
		f.format(t, d, fsType)
		f.GrowDisk(t, d, grownSize)
		f.grow(t, d, "", fsType, true)
		f.mount(t, d, fsType, fsType, false)
		f.grow(t, d, f.path(fsType), fsType, false)
	}
}

func growRefused(t *testing.T, f *fixture) {
	d, other := f.disk(t), f.disk(t)
	f.format(t, d, "xfs")
	f.mount(t, d, "xfs", "ro", true)
	f.GrowDisk(t, d, grownSize)
	_, err := f.m.Grow(t.Context(), growRequest(d, f.path("ro"), "xfs"))
	wantKind(t, err, fault.Precondition)
	_, err = f.m.Grow(t.Context(), growRequest(other, f.path("ro"), "xfs"))
	wantKind(t, err, fault.Precondition)
	_, err = f.m.Grow(t.Context(), growRequest(d, f.dir, "xfs"))
	wantKind(t, err, fault.Precondition)
}

func growShrunk(t *testing.T, f *fixture) {
	d := f.disk(t)
	f.format(t, d, "ext4")
	f.GrowDisk(t, d, diskSize/2)
	_, err := f.m.Grow(t.Context(), growRequest(d, "", "ext4"))
	wantReason(t, err, fault.FSCorrupt)
}

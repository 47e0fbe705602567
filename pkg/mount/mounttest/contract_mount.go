package mounttest

import (
	"os"
	"slices"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
)

func mountContract() []contractTest {
	return []contractTest{
		{"twice is a noop and one mount", mountTwice},
		{"another mode, file system or device there is refused", mountConflict},
		{"read-only", mountReadOnly},
		{"read-only device", mountReadOnlyDevice},
		{"options reach the kernel", mountOptionsReach},
		{"bad options leave nothing behind", mountBadOptions},
		{"another device number is refused", mountOtherNumber},
		{"unmount takes every layer and the directory", unmountLayers},
		{"unmount of nothing is a noop", unmountNothing},
		{"unmount never removes contents", unmountKeepsContents},
		{"unmount reports what is mounted below", unmountBusy},
		{"stats", stats},
	}
}

func (f *fixture) mountRequest(d Disk, fsType, name string) mount.MountRequest {
	return mount.MountRequest{Device: d.Path, Num: d.Num, Target: f.path(name), FSType: fsType, Live: alive}
}

func mountTwice(t *testing.T, f *fixture) {
	for _, fsType := range mount.FSTypes() {
		d := f.disk(t)
		path := f.stage(t, d, fsType, fsType)
		noop, err := f.m.Mount(t.Context(), f.mountRequest(d, fsType, fsType))
		if err != nil || !noop {
			t.Errorf("%s, second time: %v, %v; want a noop", fsType, noop, err)
		}
		if n := f.layersAt(t, path); n != 1 {
			t.Errorf("%s: %d mounts at one path", fsType, n)
		}
	}
}

func mountConflict(t *testing.T, f *fixture) {
	first, second := f.disk(t), f.disk(t)
	path := f.stage(t, first, "ext4", "stage")
	f.format(t, second, "ext4")
	readOnly := f.mountRequest(first, "ext4", "stage")
	readOnly.ReadOnly = true
	for name, r := range map[string]mount.MountRequest{
		"mode": readOnly, "type": f.mountRequest(first, "xfs", "stage"), "device": f.mountRequest(second, "ext4", "stage"),
	} {
		noop, err := f.m.Mount(t.Context(), r)
		if noop {
			t.Errorf("%s: noop", name)
		}
		wantKind(t, err, fault.Precondition)
	}
	if n := f.layersAt(t, path); n != 1 {
		t.Errorf("%d mounts at one path", n)
	}
}

func mountReadOnly(t *testing.T, f *fixture) {
	for _, fsType := range mount.FSTypes() {
		d := f.disk(t)
		f.format(t, d, fsType)
		f.mount(t, d, fsType, fsType, true)
		there, found, err := f.m.At(f.path(fsType))
		if err != nil || !found || !there.ReadOnly() {
			t.Errorf("%s: %+v, %v, %v; want read-only", fsType, there, found, err)
		}
	}
}

func mountReadOnlyDevice(t *testing.T, f *fixture) {
	for _, fsType := range mount.FSTypes() {
		d := f.disk(t)
		f.format(t, d, fsType)
		f.setReadOnly(t, d)
		_, err := f.m.Mount(t.Context(), f.mountRequest(d, fsType, fsType))
		wantKind(t, err, fault.Precondition)
		f.mount(t, d, fsType, fsType, true)
	}
}

func mountOptionsReach(t *testing.T, f *fixture) {
	d := f.disk(t)
	f.format(t, d, "ext4")
	r := f.mountRequest(d, "ext4", "stage")
	r.Options = []string{"noatime", "nosuid", "commit=30", "_netdev"}
	if _, err := f.m.Mount(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	there, _, err := f.m.At(r.Target)
	if err != nil || !slices.Contains(there.Options, "noatime") || !slices.Contains(there.Options, "nosuid") ||
		!slices.Contains(there.SuperOptions, "commit=30") || !slices.Contains(there.SuperOptions, "errors=remount-ro") {
		t.Errorf("options = %v, %v, %v", there.Options, there.SuperOptions, err)
	}
}

func mountBadOptions(t *testing.T, f *fixture) {
	d := f.disk(t)
	f.format(t, d, "ext4")
	for option, kind := range map[string]fault.Kind{"no_such_option": fault.Internal, "errors=continue": fault.Invalid, "noatime,bind": fault.Invalid} {
		r := f.mountRequest(d, "ext4", "stage")
		r.Options = []string{option}
		_, err := f.m.Mount(t.Context(), r)
		wantKind(t, err, kind)
		if n := f.layersAt(t, r.Target); n != 0 {
			t.Errorf("%s: %d mounts", option, n)
		}
	}
}

func mountOtherNumber(t *testing.T, f *fixture) {
	d := f.disk(t)
	f.format(t, d, "ext4")
	r := f.mountRequest(d, "ext4", "stage")
	r.Num.Minor += 77
	_, err := f.m.Mount(t.Context(), r)
	wantKind(t, err, fault.Unavailable)
	if n := f.layersAt(t, r.Target); n != 0 {
		t.Errorf("%d mounts of another device", n)
	}
}

// The predecessor's retries stacked mounts, took down one, and removed what was below.
func unmountLayers(t *testing.T, f *fixture) {
	d := f.disk(t)
	stage, target := f.stage(t, d, "ext4", "stage"), f.path("target")
	if err := os.Mkdir(target, 0o750); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := f.Config.Kernel.Bind(stage, target, false); err != nil {
			t.Fatal(err)
		}
	}
	f.unmount(t, target)
	if n := f.layersAt(t, target); n != 0 {
		t.Errorf("%d mounts left", n)
	}
	if _, err := os.Lstat(target); !os.IsNotExist(err) {
		t.Errorf("the directory is still there: %v", err)
	}
	if n := f.layersAt(t, stage); n != 1 {
		t.Errorf("%d mounts at the staging path, want 1", n)
	}
}

func unmountNothing(t *testing.T, f *fixture) {
	for _, path := range []string{f.path("missing"), f.path("no/such/parent")} {
		if noop, err := f.m.Unmount(t.Context(), path, all); err != nil || !noop {
			t.Errorf("%s: %v, %v; want a noop", path, noop, err)
		}
	}
}

func unmountKeepsContents(t *testing.T, f *fixture) {
	dir, file := f.path("dir"), f.path("file")
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir + "/data", file} {
		if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{dir, file} {
		_, err := f.m.Unmount(t.Context(), path, all)
		wantKind(t, err, fault.Precondition)
	}
	for _, path := range []string{dir + "/data", file} {
		if data, err := os.ReadFile(path); err != nil || string(data) != "precious" {
			t.Errorf("%s: %q, %v", path, data, err)
		}
	}
}

func unmountBusy(t *testing.T, f *fixture) {
	outer, inner := f.disk(t), f.disk(t)
	stage := f.stage(t, outer, "ext4", "stage")
	f.stage(t, inner, "ext4", "stage/inner")
	_, err := f.m.Unmount(t.Context(), stage, all)
	wantReason(t, err, fault.MountBusy)
	if n := f.layersAt(t, stage); n != 1 {
		t.Errorf("%d mounts left, want 1", n)
	}
}

func stats(t *testing.T, f *fixture) {
	for _, fsType := range mount.FSTypes() {
		path := f.stage(t, f.disk(t), fsType, fsType)
		got, err := f.m.Stats(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if got.TotalBytes < diskSize*3/4 || got.TotalBytes > diskSize || got.AvailableBytes == 0 || got.UsedBytes+got.AvailableBytes > got.TotalBytes {
			t.Errorf("%s: %+v of %d bytes", fsType, got, uint64(diskSize))
		}
		if inodes := got.TotalInodes > 0; inodes != (fsType != "btrfs") || got.UsedInodes+got.FreeInodes != got.TotalInodes {
			t.Errorf("%s: inodes %+v", fsType, got)
		}
	}
	got, err := f.m.Stats(t.Context(), f.dir)
	if got != (host.FSStats{}) {
		t.Errorf("numbers of what is not mounted: %+v", got)
	}
	wantKind(t, err, fault.NotFound)
}

package mounttest

import (
	"os"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
)

func publishContract() []contractTest {
	return []contractTest{
		{"twice is a noop and one mount", publishTwice},
		{"read-only of a writable volume", publishReadOnly},
		{"writable of a read-only volume is refused", publishWritable},
		{"nothing staged or another device is refused", publishUnstaged},
		{"something else at the target is refused", publishConflict},
		{"a target with files is refused", publishOntoFiles},
		{"an option that the staging mount lacks is refused", publishOptions},
		{"block device", publishBlock},
		{"block device read-only is for all or none", publishBlockReadOnly},
		{"block device onto the wrong target is refused", publishBlockConflict},
	}
}

func (f *fixture) bind(d Disk, source, name string) mount.BindRequest {
	return mount.BindRequest{Source: source, Target: f.path(name), Num: d.Num, Live: alive}
}

func (f *fixture) bindNode(d Disk, name string) mount.BindRequest {
	return mount.BindRequest{Source: d.Path, Target: f.path(name), Num: d.Num, Block: true, Live: alive}
}

// published binds and expects it to be new.
func (f *fixture) published(t *testing.T, r mount.BindRequest) {
	t.Helper()
	if noop, err := f.m.Bind(t.Context(), r); err != nil || noop {
		t.Fatalf("Bind(%s) = %v, %v", r.Target, noop, err)
	}
}

// refused binds, expects an error of a kind, and the target to be as it was.
func (f *fixture) refused(t *testing.T, r mount.BindRequest, kind fault.Kind) {
	t.Helper()
	layers := f.layersAt(t, r.Target)
	_, statErr := os.Lstat(r.Target)
	noop, err := f.m.Bind(t.Context(), r)
	if noop {
		t.Errorf("noop together with %v", err)
	}
	wantKind(t, err, kind)
	if n := f.layersAt(t, r.Target); n != layers {
		t.Errorf("%d mounts at the target, before it were %d", n, layers)
	}
	if _, err := os.Lstat(r.Target); os.IsNotExist(err) != os.IsNotExist(statErr) {
		t.Errorf("the target has come or gone: %v, before %v", err, statErr)
	}
}

func publishTwice(t *testing.T, f *fixture) {
	for _, fsType := range mount.FSTypes() {
		d := f.disk(t)
		r := f.bind(d, f.stage(t, d, fsType, fsType), "target-"+fsType)
		f.published(t, r)
		if noop, err := f.m.Bind(t.Context(), r); err != nil || !noop {
			t.Errorf("%s, second time: %v, %v; want a noop", fsType, noop, err)
		}
		if n := f.layersAt(t, r.Target); n != 1 {
			t.Errorf("%s: %d mounts at one path", fsType, n)
		}
		f.unmount(t, r.Target)
	}
}

func publishReadOnly(t *testing.T, f *fixture) {
	d := f.disk(t)
	r := f.bind(d, f.stage(t, d, "ext4", "stage"), "target")
	r.ReadOnly = true
	f.published(t, r)
	there, _, err := f.m.At(r.Target)
	if err != nil || !there.ReadOnly() {
		t.Errorf("target = %+v, %v; want read-only", there, err)
	}
	if source, _, err := f.m.At(r.Source); err != nil || source.ReadOnly() {
		t.Errorf("source = %+v, %v; want it writable", source, err)
	}
	r.ReadOnly = false
	f.refused(t, r, fault.Precondition)
}

func publishWritable(t *testing.T, f *fixture) {
	d := f.disk(t)
	f.format(t, d, "xfs")
	f.mount(t, d, "xfs", "stage", true)
	f.refused(t, f.bind(d, f.path("stage"), "target"), fault.Precondition)
}

func publishUnstaged(t *testing.T, f *fixture) {
	first, second := f.disk(t), f.disk(t)
	if err := os.Mkdir(f.path("empty"), 0o750); err != nil {
		t.Fatal(err)
	}
	f.refused(t, f.bind(first, f.path("empty"), "target"), fault.Precondition)
	f.refused(t, f.bind(second, f.stage(t, first, "ext4", "stage"), "target"), fault.Unavailable)
}

func publishConflict(t *testing.T, f *fixture) {
	first, second := f.disk(t), f.disk(t)
	a, b := f.stage(t, first, "ext4", "a"), f.stage(t, second, "ext4", "b")
	f.published(t, f.bind(first, a, "target"))
	f.refused(t, f.bind(second, b, "target"), fault.Precondition)
}

func publishOntoFiles(t *testing.T, f *fixture) {
	d := f.disk(t)
	stage := f.stage(t, d, "ext4", "stage")
	if err := os.MkdirAll(f.path("target/data"), 0o750); err != nil {
		t.Fatal(err)
	}
	f.refused(t, f.bind(d, stage, "target"), fault.Precondition)
}

func publishOptions(t *testing.T, f *fixture) {
	d := f.disk(t)
	r := f.bind(d, f.stage(t, d, "ext4", "stage"), "target")
	r.Options = []string{"noexec"}
	f.refused(t, r, fault.Precondition)
}

func publishBlock(t *testing.T, f *fixture) {
	d := f.disk(t)
	r := f.bindNode(d, "target")
	f.published(t, r)
	if noop, err := f.m.Bind(t.Context(), r); err != nil || !noop {
		t.Errorf("second time: %v, %v; want a noop", noop, err)
	}
	if n := f.layersAt(t, r.Target); n != 1 {
		t.Errorf("%d mounts at one path", n)
	}
	f.write(t, Disk{Path: r.Target}, 4096, []byte("through the target"))
	if got := f.read(t, d, 4096, 18); string(got) != "through the target" {
		t.Errorf("the disk has %q", got)
	}
	if points, err := f.m.MountsOf(d.Num); err != nil || len(points) != 0 {
		t.Errorf("MountsOf = %v, %v; a bound node is no file system", points, err)
	}
	f.unmount(t, r.Target)
	if _, err := os.Lstat(r.Target); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
}

func publishBlockReadOnly(t *testing.T, f *fixture) {
	d := f.disk(t)
	readOnly, writable := f.bindNode(d, "ro"), f.bindNode(d, "rw")
	readOnly.ReadOnly = true
	f.published(t, readOnly)
	if info := f.info(t, readOnly.Target); !info.ReadOnly {
		t.Error("the device takes writes")
	}
	f.refused(t, writable, fault.Precondition)
	second := f.bindNode(d, "ro2")
	second.ReadOnly = true
	f.published(t, second)
	f.unmount(t, readOnly.Target)
	f.unmount(t, second.Target)
	f.published(t, writable)
	if info := f.info(t, writable.Target); info.ReadOnly {
		t.Error("the device refuses writes")
	}
	f.refused(t, readOnly, fault.Precondition)
}

func (f *fixture) info(t *testing.T, path string) host.BlockInfo {
	t.Helper()
	device, err := f.Config.Devices.Open(path, false, false)
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	info, err := device.Info()
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func publishBlockConflict(t *testing.T, f *fixture) {
	first, second := f.disk(t), f.disk(t)
	other := f.bindNode(first, "target")
	other.Num = second.Num
	f.refused(t, other, fault.Unavailable)
	f.published(t, f.bindNode(first, "target"))
	f.refused(t, f.bindNode(second, "target"), fault.Precondition)
	if err := os.WriteFile(f.path("data"), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.refused(t, f.bindNode(first, "data"), fault.Precondition)
	if err := os.Mkdir(f.path("dir"), 0o750); err != nil {
		t.Fatal(err)
	}
	f.refused(t, f.bindNode(first, "dir"), fault.Precondition)
}

package mounttest

import (
	"os"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
)

// On some nodes the kubelet's directory is a symbolic link; mountinfo never shows that.
func pathsContract() []contractTest {
	return []contractTest{
		{"the whole life below a linked directory", linkedDirectory},
		{"a link at the target itself is refused", linkedTarget},
		{"canonical path", canonicalPath},
		{"a read-only bind that a crash left half-made is completed", crashedBind},
	}
}

// linked is the fixture's directory by another name.
func (f *fixture) linked(t *testing.T) *fixture {
	t.Helper()
	link := f.path("kubelet")
	if err := os.Mkdir(f.path("real"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(f.path("real"), link); err != nil {
		t.Fatal(err)
	}
	return &fixture{Setup: f.Setup, m: f.m, dir: link}
}

func linkedDirectory(t *testing.T, f *fixture) {
	d, raw := f.disk(t), f.disk(t)
	l := f.linked(t)
	stage := l.stage(t, d, "ext4", "stage")
	for _, readOnly := range []bool{false, true} {
		for name, r := range map[string]mount.BindRequest{"dir": l.bind(d, stage, "target"), "node": l.bindNode(raw, "node")} {
			r.ReadOnly = readOnly
			l.published(t, r)
			there, found, err := l.m.At(r.Target)
			if err != nil || !found || there.Path != f.path("real/"+map[string]string{"dir": "target", "node": "node"}[name]) || there.ReadOnly() != readOnly {
				t.Errorf("%s: At = %+v, %v, %v", name, there, found, err)
			}
			if noop, err := l.m.Bind(t.Context(), r); err != nil || !noop {
				t.Errorf("%s, second time: %v, %v", name, noop, err)
			}
			l.unmount(t, r.Target)
			if _, err := os.Lstat(r.Target); !os.IsNotExist(err) {
				t.Errorf("%s: the target is left: %v", name, err)
			}
		}
	}
	if noop, err := l.m.Mount(t.Context(), l.mountRequest(d, "ext4", "stage")); err != nil || !noop {
		t.Errorf("second stage: %v, %v", noop, err)
	}
	if noop, err := f.m.Mount(t.Context(), f.mountRequest(d, "ext4", "real/stage")); err != nil || !noop {
		t.Errorf("stage by the other name: %v, %v", noop, err)
	}
	l.unmount(t, stage)
}

func linkedTarget(t *testing.T, f *fixture) {
	d, raw := f.disk(t), f.disk(t)
	stage := f.stage(t, d, "ext4", "stage")
	f.format(t, raw, "ext4")
	if err := os.Mkdir(f.path("elsewhere"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(f.path("elsewhere"), f.path("link")); err != nil {
		t.Fatal(err)
	}
	_, err := f.m.Mount(t.Context(), f.mountRequest(raw, "ext4", "link"))
	wantKind(t, err, fault.Precondition)
	f.refused(t, f.bind(d, stage, "link"), fault.Precondition)
	f.refused(t, f.bindNode(raw, "link"), fault.Precondition)
	_, err = f.m.Unmount(t.Context(), f.path("link"), all)
	wantKind(t, err, fault.Precondition)
	if err := os.Symlink(stage, f.path("to-stage")); err != nil {
		t.Fatal(err)
	}
	f.refused(t, f.bind(d, f.path("to-stage"), "target"), fault.Precondition)
	if n := f.layersAt(t, f.path("elsewhere")); n != 0 {
		t.Errorf("%d mounts behind the link", n)
	}
}

func canonicalPath(t *testing.T, f *fixture) {
	l := f.linked(t)
	for _, name := range []string{"missing", "/missing/", "x/../missing"} {
		if got, err := f.m.Canonical(l.dir + "/" + name); err != nil || got != f.path("real/missing") {
			t.Errorf("Canonical(%q) = %q, %v", name, got, err)
		}
	}
	if _, err := f.m.Canonical(l.dir); fault.KindOf(err) != fault.Precondition {
		t.Errorf("a link: %v", err)
	}
	if got, err := f.m.Canonical(l.path("no//such")); err != nil || got != l.path("no/such") {
		t.Errorf("no directory: %q, %v", got, err)
	}
}

// mount(2) binds first and makes read-only then; the record says that it was to be read-only.
func crashedBind(t *testing.T, f *fixture) {
	d, raw := f.disk(t), f.disk(t)
	dir, node := f.bind(d, f.stage(t, d, "ext4", "stage"), "target"), f.bindNode(raw, "node")
	if err := os.Mkdir(dir.Target, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(node.Target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f.setReadOnly(t, raw)
	for _, r := range []mount.BindRequest{dir, node} {
		if err := f.Config.Kernel.Bind(r.Source, r.Target, false); err != nil {
			t.Fatal(err)
		}
		r.ReadOnly = true
		if noop, err := f.m.Bind(t.Context(), r); err != nil || noop {
			t.Fatalf("Bind = %v, %v", noop, err)
		}
		if there, _, err := f.m.At(r.Target); err != nil || !there.ReadOnly() || f.layersAt(t, r.Target) != 1 {
			t.Errorf("At = %+v, %v with %d layers; want one, read-only", there, err, f.layersAt(t, r.Target))
		}
		if noop, err := f.m.Bind(t.Context(), r); err != nil || !noop {
			t.Errorf("once more: %v, %v", noop, err)
		}
		f.unmount(t, r.Target)
	}
	if err := f.Config.Devices.SetReadOnly(raw.Path, raw.Num, false); err != nil {
		t.Fatal(err)
	}
}

package mounttest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
)

// The kernel gives path and number of a lost device to the next one. That only the connector can
// tell, and only what happens after it was asked counts.
func whoseContract() []contractTest {
	return []contractTest{
		{"mount of a device that is lost before or meanwhile", whoseMount},
		{"bind of a volume that is lost before or meanwhile", whoseBind},
		{"a lost device is not checked, grown or wiped", whoseTools},
		{"nobody to ask", whoseUnknown},
		{"unmount shows each layer and leaves what is not ours", whoseUnmount},
		{"unmount shows the number of a bound device node", whoseNode},
	}
}

var errLost = errors.New("the controller was lost")

// lostAt is an Alive whose nth answer is that the controller is gone.
func lostAt(n int) mount.Alive {
	asked := 0
	return func(context.Context) error {
		if asked++; asked == n {
			return fault.E("look at the controller", fault.NVMeControllerLost, errLost)
		}
		return nil
	}
}

func (f *fixture) wantNothing(t *testing.T, err error, path string) {
	t.Helper()
	if !errors.Is(err, errLost) {
		t.Errorf("error = %v", err)
	}
	wantReason(t, err, fault.NVMeControllerLost)
	wantKind(t, err, fault.Unavailable)
	if n := f.layersAt(t, path); n != 0 {
		t.Errorf("%d mounts are left at %s", n, path)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", path, err)
	}
}

func whoseMount(t *testing.T, f *fixture) {
	d := f.disk(t)
	f.format(t, d, "ext4")
	for n := 1; n <= 2; n++ {
		r := f.mountRequest(d, "ext4", "stage")
		r.Live = lostAt(n)
		noop, err := f.m.Mount(t.Context(), r)
		if noop {
			t.Error("noop")
		}
		f.wantNothing(t, err, r.Target)
	}
	f.mount(t, d, "ext4", "stage", false)
	r := f.mountRequest(d, "ext4", "stage")
	r.Live = lostAt(1)
	_, err := f.m.Mount(t.Context(), r)
	wantReason(t, err, fault.NVMeControllerLost)
	if n := f.layersAt(t, r.Target); n != 1 {
		t.Errorf("%d mounts, want the one of before", n)
	}
}

func whoseBind(t *testing.T, f *fixture) {
	d, raw := f.disk(t), f.disk(t)
	stage := f.stage(t, d, "ext4", "stage")
	for n := 1; n <= 2; n++ {
		for _, r := range []mount.BindRequest{f.bind(d, stage, "dir"), f.bindNode(raw, "node")} {
			r.Live = lostAt(n)
			_, err := f.m.Bind(t.Context(), r)
			f.wantNothing(t, err, r.Target)
		}
	}
}

func whoseTools(t *testing.T, f *fixture) {
	d := f.disk(t)
	f.format(t, d, "ext4")
	f.GrowDisk(t, d, grownSize)
	before := f.read(t, d, 0, 4<<20)
	growth := growRequest(d, "", "ext4")
	growth.Live = lostAt(1)
	_, err := f.m.Grow(t.Context(), growth)
	for _, err := range []error{
		err, f.m.Check(t.Context(), d.Path, d.Num, "ext4", lostAt(1)), f.m.WipeInterrupted(t.Context(), d.Path, d.Num, lostAt(1)),
	} {
		wantReason(t, err, fault.NVMeControllerLost)
	}
	if !bytes.Equal(before, f.read(t, d, 0, 4<<20)) {
		t.Error("what is another volume's device by now was written to")
	}
	other := d.Num
	other.Minor += 77
	wantKind(t, f.m.Check(t.Context(), d.Path, other, "ext4", alive), fault.Unavailable)
	growth.Live, growth.Num = alive, other
	_, err = f.m.Grow(t.Context(), growth)
	wantKind(t, err, fault.Unavailable)
}

func whoseUnknown(t *testing.T, f *fixture) {
	d, raw := f.disk(t), f.disk(t)
	stage := f.stage(t, d, "ext4", "stage")
	r := f.mountRequest(raw, "ext4", "other")
	r.Live = nil
	_, err := f.m.Mount(t.Context(), r)
	wantKind(t, err, fault.Internal)
	for _, r := range []mount.BindRequest{f.bind(d, stage, "dir"), f.bindNode(raw, "node")} {
		r.Live = nil
		f.refused(t, r, fault.Internal)
	}
	wantKind(t, f.m.Check(t.Context(), raw.Path, raw.Num, "ext4", nil), fault.Internal)
	wantKind(t, f.m.WipeInterrupted(t.Context(), raw.Path, raw.Num, nil), fault.Internal)
	_, err = f.m.Unmount(t.Context(), stage, nil)
	wantKind(t, err, fault.Internal)
}

func whoseUnmount(t *testing.T, f *fixture) {
	mine, theirs := f.disk(t), f.disk(t)
	a, b := f.stage(t, mine, "ext4", "a"), f.stage(t, theirs, "ext4", "b")
	target, c := f.path("target"), f.path("c")
	for _, dir := range []string{target, c} {
		if err := os.Mkdir(dir, 0o750); err != nil {
			t.Fatal(err)
		}
	}
	// A mount of its own: where mounts are shared, as below kubelet's directory, what is bound onto a bind of a
	// covers a itself, too.
	if err := f.Config.Kernel.Mount(mine.Path, c, "ext4", []string{"rw"}); err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{a, b, c} {
		if err := f.Config.Kernel.Bind(source, target, false); err != nil {
			t.Fatal(err)
		}
	}
	noop, err := f.m.Unmount(t.Context(), target, func(p host.MountPoint) bool { return p.Dev == mine.Num })
	if noop {
		t.Error("noop")
	}
	wantKind(t, err, fault.Precondition)
	if there, _, err := f.m.At(target); err != nil || there.Dev != theirs.Num || f.layersAt(t, target) != 2 {
		t.Errorf("left are %d layers, on top %+v, %v; want theirs and what is below it", f.layersAt(t, target), there, err)
	}
	f.unmount(t, target)
}

func whoseNode(t *testing.T, f *fixture) {
	d := f.disk(t)
	r := f.bindNode(d, "target")
	f.published(t, r)
	raw := func(p host.MountPoint) bool {
		num, ok := p.Node()
		return ok && num == d.Num
	}
	if there, found, err := f.m.At(r.Target); err != nil || !found || !raw(there) {
		t.Errorf("At = %+v, %v, %v", there, found, err)
	}
	_, err := f.m.Unmount(t.Context(), r.Target, func(p host.MountPoint) bool { return !raw(p) })
	wantKind(t, err, fault.Precondition)
	if noop, err := f.m.Unmount(t.Context(), r.Target, raw); noop || err != nil {
		t.Errorf("Unmount = %v, %v", noop, err)
	}
	if _, err := os.Lstat(r.Target); !errors.Is(err, unix.ENOENT) {
		t.Errorf("the file is left: %v", err)
	}
}

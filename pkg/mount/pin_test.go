package mount_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount/mounttest"
)

// operations are all that touches a device, with the identity they are to ask.
func (n *node) operations() map[string]func(context.Context, mount.Alive) error {
	return map[string]func(context.Context, mount.Alive) error{
		"format": func(ctx context.Context, live mount.Alive) error {
			_, err := n.m.EnsureFormatted(ctx, mount.FormatRequest{
				Device: device, Num: number(), FSType: "ext4", Size: size, Blank: true, Journal: &record{}, Live: live,
			})
			return err
		},
		"check": func(ctx context.Context, live mount.Alive) error {
			return n.m.Check(ctx, device, number(), "ext4", live)
		},
		"grow": func(ctx context.Context, live mount.Alive) error {
			r := offline()
			r.Live = live
			_, err := n.m.Grow(ctx, r)
			return err
		},
		"wipe": func(ctx context.Context, live mount.Alive) error {
			return n.m.WipeInterrupted(ctx, device, number(), live)
		},
		"mount": func(ctx context.Context, live mount.Alive) error {
			_, err := n.m.Mount(ctx, mount.MountRequest{Device: device, Num: number(), Target: filepath.Join(n.dir, "stage"), Live: live})
			return err
		},
		"bind": func(ctx context.Context, live mount.Alive) error {
			_, err := n.m.Bind(ctx, mount.BindRequest{Source: device, Target: filepath.Join(n.dir, "node"), Num: number(), Block: true, Live: live})
			return err
		},
	}
}

// What was asked before the device was held, or after it was let go, proves nothing: in between the
// kernel may have given name and number to another volume.
func TestIdentityIsAskedWhileTheDeviceIsHeld(t *testing.T) {
	for name := range newNode(t).operations() {
		t.Run(name, func(t *testing.T) {
			n := newOffline(t)
			if name == "wipe" || name == "format" {
				n = newNode(t)
			}
			pinned, asked := 0, 0
			live := func(context.Context) error {
				asked++
				if n.Pinned(device) {
					pinned++
				}
				return nil
			}
			if err := n.operations()[name](t.Context(), live); err != nil {
				t.Fatal(err)
			}
			if pinned == 0 || pinned != asked {
				t.Errorf("asked %d times, while the device was held %d times", asked, pinned)
			}
		})
	}
}

// The number moved between the connect and the hold: that is as much a refusal as one that the probe meets.
func TestAHoldOfAnotherDeviceIsCountedAsRefused(t *testing.T) {
	n := newNode(t)
	other := number()
	other.Minor++
	if held, err := n.m.Hold(t.Context(), device, other); fault.KindOf(err) != fault.Unavailable || held != nil {
		t.Errorf("held %v, error %v", held, err)
	}
	if got := n.decisions(); !slices.Equal(got, []string{"refused_identity"}) {
		t.Errorf("decisions %q", got)
	}
	held, err := n.m.Hold(t.Context(), device, number())
	if err != nil {
		t.Fatal(err)
	}
	if err := held.Close(); err != nil {
		t.Error(err)
	}
	if got := n.decisions(); len(got) != 1 {
		t.Errorf("decisions %q: to hold a device decides nothing", got)
	}
}

func TestAnOpenThatHangsHoldsNobody(t *testing.T) {
	for name := range newNode(t).operations() {
		t.Run(name, func(t *testing.T) {
			n := newOffline(t)
			release := n.Hang("open", device)
			for range 2 {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
				if err := n.operations()[name](ctx, alive); fault.KindOf(err) != fault.Unavailable {
					t.Errorf("error = %v", err)
				}
				cancel()
			}
			release()
			waitUntil(t, "the late handle is closed", func() bool {
				return n.m.Check(t.Context(), device, number(), "ext4", alive) == nil && !n.Pinned(device)
			})
			if table, err := n.Table(); err != nil || len(table) != 0 {
				t.Errorf("mounted after the call was over: %v, %v", table, err)
			}
		})
	}
}

// The last thing before the kernel is told to mount: does the caller still wait?
func TestNothingIsMountedAfterTheCallEnded(t *testing.T) {
	n := newOffline(t)
	for _, name := range []string{"mount", "bind"} {
		ctx, cancel := context.WithCancel(t.Context())
		live := func(context.Context) error {
			cancel()
			return nil
		}
		if err := n.operations()[name](ctx, live); err == nil {
			t.Errorf("%s: no error", name)
		}
		waitUntil(t, "the device is let go", func() bool { return !n.Pinned(device) })
		if table, err := n.Table(); err != nil || len(table) != 0 {
			t.Errorf("%s: mounts %v, %v", name, table, err)
		}
	}
	stage := filepath.Join(n.dir, "stage")
	if _, err := n.m.Mount(t.Context(), mount.MountRequest{Device: device, Num: number(), Target: stage, Live: alive}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	target := filepath.Join(n.dir, "target")
	_, err := n.m.Bind(ctx, mount.BindRequest{Source: stage, Target: target, Num: number(), Live: func(context.Context) error {
		cancel()
		return nil
	}})
	if err == nil {
		t.Error("bind of a directory: no error")
	}
	// Unmount waits for what may still go on at the target, and has nothing to take down.
	if noop, err := n.m.Unmount(t.Context(), target, all); err != nil || !noop {
		t.Errorf("Unmount = %v, %v; want a noop", noop, err)
	}
	if table, err := n.Table(); err != nil || len(table) != 1 {
		t.Errorf("mounts %v, %v; want the staging mount", table, err)
	}
}

// After a final code nobody unstages: what may be left is Unavailable.
func TestAnUndoThatFailsIsNotFinal(t *testing.T) {
	foreign := fault.Errorf("", fault.Precondition, "not this volume's")
	for _, name := range []string{"mount", "bind"} {
		n := newOffline(t)
		n.SetBusy(filepath.Join(n.dir, "stage"), true)
		n.SetBusy(filepath.Join(n.dir, "node"), true)
		asked := 0
		err := n.operations()[name](t.Context(), func(context.Context) error {
			if asked++; asked == 2 {
				return foreign
			}
			return nil
		})
		if fault.KindOf(err) != fault.Unavailable || !errors.Is(err, foreign) || !strings.Contains(err.Error(), "could not be undone") {
			t.Errorf("%s: %v", name, err)
		}
		if table, err := n.Table(); err != nil || len(table) != 1 {
			t.Errorf("%s: mounts %v, %v; want the one that could not be undone", name, table, err)
		}
	}
}

// halfBind is a kernel whose bind mounts fail after they were made.
type halfBind struct{ *mounttest.Kernel }

func (k halfBind) Bind(source, target string, readOnly bool) error {
	return errors.Join(unix.EPERM, k.Kernel.Bind(source, target, readOnly))
}

func TestABindThatFailsHalfWayIsNotFinal(t *testing.T) {
	k := mounttest.New(t)
	k.AddDisk(device, number(), size)
	config := fakeConfig(k)
	config.Kernel = halfBind{k}
	n := &node{Kernel: k, m: mount.New(config), dir: t.TempDir()}
	err := n.operations()["bind"](t.Context(), alive)
	if fault.KindOf(err) != fault.Unavailable || !errors.Is(err, unix.EPERM) {
		t.Errorf("error = %v", err)
	}
}

package mount_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount/mounttest"
)

func offline() mount.GrowRequest {
	return mount.GrowRequest{Device: device, Num: number(), FSType: "ext4", Live: alive}
}

// newOffline is a node whose ext4 has to grow and can do so only before it is mounted.
func newOffline(t *testing.T) *node {
	t.Helper()
	n := newNode(t)
	n.DropSysResource()
	if _, err := n.format(t.Context(), &record{}); err != nil {
		t.Fatal(err)
	}
	n.GrowDisk(device, 2*size)
	return n
}

func (n *node) ran(program string) bool {
	return slices.ContainsFunc(n.Calls(), func(call string) bool { return strings.HasPrefix(call, program) })
}

func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		case <-tick.C:
		}
	}
}

// A resize2fs that is killed leaves an ext4 that preen does not repair: the volume could never be
// staged again.
func TestOfflineGrowthSurvivesItsCall(t *testing.T) {
	for _, program := range []string{"resize2fs", "fsck.ext4"} {
		t.Run(program, func(t *testing.T) {
			n := newOffline(t)
			release := n.Hang(program, device)
			ctx, cancel := context.WithCancel(t.Context())
			answer := make(chan error, 1)
			go func() {
				_, err := n.m.Grow(ctx, offline())
				answer <- err
			}()
			waitUntil(t, program+" runs", func() bool { return n.ran(program) })
			cancel()
			if err := <-answer; fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "still being grown") {
				t.Errorf("cancelled growth: %v", err)
			}
			n.othersWait(t)
			release()
			if noop, err := n.m.Grow(t.Context(), offline()); err != nil || !noop {
				t.Errorf("the next call = %v, %v; want it to find the work done", noop, err)
			}
			if err := n.m.Check(t.Context(), device, number(), "ext4", alive); err != nil {
				t.Errorf("check of the next stage: %v", err)
			}
			runs := len(slices.DeleteFunc(n.Calls(), func(call string) bool { return !strings.HasPrefix(call, "resize2fs") }))
			if runs != 1 {
				t.Errorf("resize2fs ran %d times", runs)
			}
		})
	}
}

// othersWait tries what a later call may want of the device while it is being grown.
func (n *node) othersWait(t *testing.T) {
	t.Helper()
	for what, call := range map[string]func(context.Context) error{
		"grow":  func(ctx context.Context) error { _, err := n.m.Grow(ctx, offline()); return err },
		"check": func(ctx context.Context) error { return n.m.Check(ctx, device, number(), "ext4", alive) },
		"wipe":  func(ctx context.Context) error { return n.m.WipeInterrupted(ctx, device, number(), alive) },
		"format": func(ctx context.Context) error {
			_, err := n.format(ctx, &record{})
			return err
		},
		"mount": func(ctx context.Context) error {
			_, err := n.m.Mount(ctx, mount.MountRequest{Device: device, Num: number(), Target: filepath.Join(n.dir, "stage"), Live: alive})
			return err
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		if err := call(ctx); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s while the file system is grown: %v", what, err)
		}
		cancel()
	}
	if table, err := n.Table(); err != nil || len(table) != 0 {
		t.Errorf("mounted meanwhile: %v, %v", table, err)
	}
}

// A check may take minutes; whose the device is then is another question.
func TestOfflineGrowthAsksAgainAfterTheCheck(t *testing.T) {
	n := newOffline(t)
	lost := errors.New("the controller was lost")
	r := offline()
	r.Live = func(context.Context) error {
		if n.ran("fsck.ext4") {
			return fault.E("", fault.NVMeControllerLost, lost)
		}
		return nil
	}
	if _, err := n.m.Grow(t.Context(), r); !errors.Is(err, lost) || n.ran("resize2fs") {
		t.Errorf("Grow = %v; tools %v", err, n.Calls())
	}
}

func TestGrowthWaitsForTheMountWhereTheKernelGrowsIt(t *testing.T) {
	n := newNode(t)
	if _, err := n.format(t.Context(), &record{}); err != nil {
		t.Fatal(err)
	}
	n.GrowDisk(device, 2*size)
	if noop, err := n.m.Grow(t.Context(), offline()); err != nil || !noop || n.ran("resize2fs") {
		t.Errorf("Grow = %v, %v; tools %v", noop, err, n.Calls())
	}
}

func TestUnknownCapabilitiesAreAnError(t *testing.T) {
	k := mounttest.New(t)
	k.AddDisk(device, number(), size)
	unknown := errors.New("no such system call")
	config := fakeConfig(k)
	config.SysResource = func() (bool, error) { return false, unknown }
	n := &node{Kernel: k, m: mount.New(config)}
	if _, err := n.format(t.Context(), &record{}); err != nil {
		t.Fatal(err)
	}
	k.GrowDisk(device, 2*size)
	if _, err := n.m.Grow(t.Context(), offline()); !errors.Is(err, unknown) || n.ran("resize2fs") {
		t.Errorf("Grow = %v; tools %v", err, n.Calls())
	}
}

// The real resize2fs is not killed either: its call ends while it runs.
func TestOfflineGrowthSurvivesItsCallOnTheRealMachine(t *testing.T) {
	needRealTools(t)
	ctx, cancel := context.WithCancel(t.Context())
	d := loopDisk(t, size)
	config := realConfig()
	config.SysResource = func() (bool, error) { return false, nil }
	config.Tools = cancelling{host.NewRunner(), cancel}
	m := mount.New(config)
	r := mount.FormatRequest{Device: d.Path, Num: d.Num, FSType: "ext4", Blank: true, Live: alive, Journal: &record{}}
	if o, err := m.EnsureFormatted(ctx, r); err != nil || !o.Formatted {
		t.Fatalf("format = %+v, %v", o, err)
	}
	growLoop(t, d, 16*size)
	growth := mount.GrowRequest{Device: d.Path, Num: d.Num, FSType: "ext4", Live: alive}
	if _, err := m.Grow(ctx, growth); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("cancelled growth: %v", err)
	}
	if noop, err := m.Grow(t.Context(), growth); err != nil || !noop {
		t.Errorf("the next call = %v, %v; want it to find the work done", noop, err)
	}
	if err := m.Check(t.Context(), d.Path, d.Num, "ext4", alive); err != nil {
		t.Errorf("check of the next stage: %v", err)
	}
}

// cancelling ends the call for which resize2fs runs, before it has written anything.
type cancelling struct {
	*host.Runner
	cancel func()
}

func (c cancelling) Run(ctx context.Context, name string, args ...string) (host.Result, error) {
	if name == "resize2fs" {
		c.cancel()
	}
	return c.Runner.Run(ctx, name, args...)
}

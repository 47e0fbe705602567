package guest

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
)

const (
	impatience = 6 * time.Second // a client's deadline, much less than kubelet's
	slack      = 7 * time.Second // what an answer may take on a busy machine
	deadSize   = 128 * mib
	dirtyData  = 2 * mib
)

// A volume is unstaged while the network to the array is gone and the kernel still has to write: the umount
// hangs in the kernel. The call ends in time and says so, nothing is forced, and once the array can be
// reached again all that was ever written is there.
func TestUnstageOfADeadTarget(t *testing.T) {
	for _, tt := range []struct {
		name, fs string
		disturb  func(*proxy)
		calls    int
	}{
		{"cut", "ext4", (*proxy).cut, 2},
		{"blackhole", "btrfs", (*proxy).blackhole, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, c := t.Context(), newCluster(t)
			n, p := c.newNode("node-1"), newProxy(t, c.array.portal())
			n.through(p)
			v := c.create(ctx, spec{name: "pvc-1", fs: tt.fs, size: deadSize})
			d := deadTarget{t, c, n, v}
			d.makeDirty(ctx, p, tt.disturb)
			ok(t, d.impatient(ctx, func(ctx context.Context) error { return n.unpublish(ctx, v, "pod-1") }))
			for range tt.calls {
				d.unstageHangs(ctx, n)
			}
			p.heal()
			retry(t, program.Patience, func() error { return n.unstage(ctx, v) })
			d.wantAllData(ctx)
		})
	}
}

// The same, and the plugin is killed while it hangs. Linux keeps the process, for the sake of the umount,
// and has taken the mount off the table already. The next plugin must not take that for unmounted.
func TestPluginIsKilledWhileItsUmountHangs(t *testing.T) {
	ctx, c := t.Context(), newCluster(t)
	n, p := c.newNode("node-1"), newProxy(t, c.array.portal())
	n.through(p)
	v := c.create(ctx, spec{name: "pvc-1", size: deadSize})
	d := deadTarget{t, c, n, v}
	d.makeDirty(ctx, p, (*proxy).cut)
	ok(t, n.unpublish(ctx, v, "pod-1"))
	d.unstageHangs(ctx, n)
	t.Logf("mounts while it hangs: %q", mountsBelow(t, c.dir))
	d.killHanging()
	dying := n.Process
	// The dying one keeps its connections and the port of the metrics. Kubelet, too, dials for each call.
	n.plugin = startPlugin(t, n.dir, append(slices.Clone(n.flags), metricsFlag+program.FreeAddress(t))...)
	for range 2 {
		err := d.impatient(ctx, func(ctx context.Context) error { return n.unstage(ctx, v) })
		t.Logf("unstage by the next plugin: %v", err)
		if code := status.Code(err); code != codes.FailedPrecondition || !strings.Contains(err.Error(), "an unmount that is not finished") {
			t.Errorf("the next plugin answered %v: %v", code, err)
		}
		d.wantConnected()
	}
	p.heal()
	retry(t, program.Patience, func() error { return n.unstage(ctx, v) })
	program.Await(t, "the killed plugin ends", func() bool { return !dying.Running() })
	d.wantAllData(ctx)
}

// deadTarget is a volume whose array cannot be reached, with data that is not written yet.
type deadTarget struct {
	t       *testing.T
	cluster *cluster
	node    *node
	volume  *volume
}

func (d deadTarget) synced(pod string) string {
	return filepath.Join(d.node.path(d.volume, pod), "synced")
}
func (d deadTarget) dirty(pod string) string {
	return filepath.Join(d.node.path(d.volume, pod), "dirty")
}

// makeDirty gives the volume to pod-1, which writes: some of it is synced, and the rest has no way to go any more.
func (d deadTarget) makeDirty(ctx context.Context, p *proxy, disturb func(*proxy)) {
	d.t.Helper()
	ok(d.t, d.cluster.attach(ctx, d.volume, d.node, "pod-1"))
	writeData(d.t, d.synced("pod-1"), 1, dirtyData)
	ok(d.t, os.WriteFile(d.dirty("pod-1"), content(2, dirtyData), 0o600))
	disturb(p)
	all, err := os.ReadFile(d.cluster.array.file(d.volume))
	ok(d.t, err)
	for seed, want := range map[byte]bool{1: true, 2: false} {
		if bytes.Contains(all, content(seed, dirtyData)[dirtyData-4096:]) != want {
			d.t.Fatalf("the array has the data with seed %d: %t; this test is about unwritten data", seed, !want)
		}
	}
}

// impatient makes a call with a short deadline, which it must keep.
func (d deadTarget) impatient(ctx context.Context, call func(context.Context) error) error {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, impatience)
	defer cancel()
	begun := time.Now()
	err := call(ctx)
	if took := time.Since(begun); took > impatience+slack {
		d.t.Errorf("the call took %s, and had %s", took, impatience)
	}
	return err
}

func (d deadTarget) unstageHangs(ctx context.Context, n *node) {
	d.t.Helper()
	err := d.impatient(ctx, func(ctx context.Context) error { return n.unstage(ctx, d.volume) })
	d.t.Logf("unstage: %v", err)
	if code := status.Code(err); code != codes.Unavailable || !strings.Contains(err.Error(), "umount still hangs") {
		d.t.Errorf("NodeUnstage answered %v: %v", code, err)
	}
	d.wantConnected()
	if len(n.records()) != 1 {
		d.t.Errorf("records %q", n.records())
	}
}

func (d deadTarget) wantConnected() {
	d.t.Helper()
	nqn := d.volume.published[d.node.name]["nqn"]
	if !slices.ContainsFunc(controllers(d.t), func(line string) bool { return strings.HasSuffix(line, " "+nqn) }) {
		d.t.Fatalf("it was disconnected: %q", controllers(d.t))
	}
}

// killHanging ends all of the plugin that can be ended. One thread is in the kernel.
func (d deadTarget) killHanging() {
	d.t.Helper()
	d.node.Signal(d.t, os.Kill)
	program.Await(d.t, "only the umount is left of the plugin", func() bool {
		threads, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(d.node.PID()), "task"))
		return err == nil && len(threads) <= 2
	})
	if !d.node.Running() {
		d.t.Fatal("the plugin has ended: nothing hung")
	}
}

// wantAllData stages the volume, which is unstaged, again and looks at what pod-1 has written.
func (d deadTarget) wantAllData(ctx context.Context) {
	d.t.Helper()
	if left := slices.Concat(controllers(d.t), mountsBelow(d.t, d.cluster.dir), d.node.records()); len(left) > 0 {
		d.t.Errorf("unstaged, and there is still %q", left)
	}
	ok(d.t, d.node.stage(ctx, d.volume))
	ok(d.t, d.node.publish(ctx, d.volume, "pod-2"))
	checkData(d.t, d.synced("pod-2"), 1, dirtyData)
	checkData(d.t, d.dirty("pod-2"), 2, dirtyData)
	ok(d.t, d.cluster.detach(ctx, d.volume, d.node, "pod-2"))
	ok(d.t, d.cluster.delete(ctx, d.volume))
}

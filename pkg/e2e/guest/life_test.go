package guest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
)

// dataPath is where a pod writes to its volume: a file in it, or the device itself.
func dataPath(n *node, v *volume, pod string) string {
	if v.fs == block {
		return n.path(v, pod)
	}
	return filepath.Join(n.path(v, pod), "data")
}

func fileSystems() []string { return []string{"ext4", "xfs", "btrfs", block} }

func TestWholeLife(t *testing.T) {
	for _, fs := range fileSystems() {
		t.Run(fs, func(t *testing.T) {
			ctx, c := t.Context(), newCluster(t)
			n := c.newNode("node-1")
			v := c.create(ctx, spec{name: "pvc-1", fs: fs})
			ok(t, c.attach(ctx, v, n, "pod-1"))
			writeData(t, dataPath(n, v, "pod-1"), 1, 8*mib)
			ok(t, c.detach(ctx, v, n, "pod-1"))
			if left := controllers(t); len(left) > 0 {
				t.Errorf("still connected after NodeUnstage: %q", left)
			}
			ok(t, c.attach(ctx, v, n, "pod-2"))
			checkData(t, dataPath(n, v, "pod-2"), 1, 8*mib)
			ok(t, c.detach(ctx, v, n, "pod-2"))
			ok(t, c.delete(ctx, v))
			if items := c.array.state().Items; len(items) != 1 { // the pool itself
				t.Errorf("left on the array: %+v", items)
			}
		})
	}
}

func TestExpandWhileAPodWrites(t *testing.T) {
	for _, fs := range fileSystems() {
		t.Run(fs, func(t *testing.T) {
			ctx, c := t.Context(), newCluster(t)
			n := c.newNode("node-1")
			v := c.create(ctx, spec{name: "pvc-1", fs: fs})
			ok(t, c.attach(ctx, v, n, "pod"))
			w := startWriter(t, dataPath(n, v, "pod"))
			program.Await(t, "the pod writes", func() bool { return w.confirmed() > 10 })
			ok(t, c.expand(ctx, v, 768*mib))
			ok(t, n.expand(ctx, v, "pod"))
			before := w.confirmed()
			program.Await(t, "the pod goes on writing", func() bool { return w.confirmed() > before+10 })
			ok(t, w.end())
			stats, err := n.stats(ctx, v, "pod")
			ok(t, err)
			if total := stats.GetUsage()[0].GetTotal(); total < 700*mib {
				t.Errorf("the pod has %d bytes after growth to %d", total, v.size)
			}
			ok(t, c.detach(ctx, v, n, "pod"))
			ok(t, c.attach(ctx, v, n, "pod"))
			w.check(dataPath(n, v, "pod"))
			ok(t, c.detach(ctx, v, n, "pod"))
			ok(t, c.delete(ctx, v))
		})
	}
}

// What the fixture does to a network is what the scenarios build on.
func TestProxyCutsAndHeals(t *testing.T) {
	ctx, c := t.Context(), newCluster(t)
	n := c.newNode("node-1")
	p := newProxy(t, c.array.portal())
	n.through(p)
	v := c.create(ctx, spec{name: "pvc-1", fs: block})
	ok(t, c.attach(ctx, v, n, "pod"))
	w := startWriter(t, n.path(v, "pod"))
	for name, disturb := range map[string]func(){"cut": p.cut, "blackhole": p.blackhole} {
		program.Await(t, "the pod writes", func() bool { return w.confirmed() > 10 })
		disturb()
		program.Await(t, name+" stops it", func() bool {
			before := w.confirmed()
			time.Sleep(500 * time.Millisecond)
			return w.confirmed() == before
		})
		p.heal()
		before := w.confirmed()
		program.Await(t, "it goes on", func() bool { return w.confirmed() > before })
	}
	ok(t, w.end())
	w.check(n.path(v, "pod"))
	ok(t, c.detach(ctx, v, n, "pod"))
	ok(t, c.delete(ctx, v))
}

// One node at a time: the second gets the volume when the first has given it back, with what was written.
func TestAVolumeMovesBetweenNodes(t *testing.T) {
	ctx, c := t.Context(), newCluster(t)
	first, second := c.newNode("node-1"), c.newNode("node-2")
	v := c.create(ctx, spec{name: "pvc-1"})
	ok(t, c.attach(ctx, v, first, "pod"))
	writeData(t, dataPath(first, v, "pod"), 1, mib)
	err := c.publish(ctx, v, second)
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "node-1") {
		t.Errorf("publish to a second node: %v", err)
	}
	ok(t, c.detach(ctx, v, first, "pod"))
	ok(t, c.attach(ctx, v, second, "pod"))
	checkData(t, dataPath(second, v, "pod"), 1, mib)
	ok(t, c.detach(ctx, v, second, "pod"))
	ok(t, c.delete(ctx, v))
}

// A killed node plugin takes nothing from the pods, and goes on where it was.
func TestANodePluginIsKilled(t *testing.T) {
	ctx, c := t.Context(), newCluster(t)
	n := c.newNode("node-1")
	v := c.create(ctx, spec{name: "pvc-1"})
	ok(t, c.attach(ctx, v, n, "pod-1"))
	w := startWriter(t, dataPath(n, v, "pod-1"))
	n.kill()
	before := w.confirmed()
	program.Await(t, "the pod goes on", func() bool { return w.confirmed() > before+10 })
	n.start()
	ok(t, n.stage(ctx, v)) // as kubelet does after a restart
	ok(t, n.publish(ctx, v, "pod-1"))
	if ops, found := n.metric(`rds_csi_volume_operations_total{operation="stage",status="noop"}`); !found || ops != 1 {
		t.Errorf("stages that had nothing to do: %v, %v", ops, found)
	}
	program.Await(t, "its loop counts the live controller", func() bool {
		live, found := n.metric(`rds_csi_nvme_controllers{state="live"}`)
		return found && live == 1
	})
	ok(t, w.end())
	w.check(dataPath(n, v, "pod-1"))
	ok(t, c.detach(ctx, v, n, "pod-1"))
	ok(t, c.delete(ctx, v))
}

// The array's console breaks off after it has done its part; the controller is restarted meanwhile. Whoever asks
// again finds the volume, and one of it.
func TestCreateAndDeleteThroughTrouble(t *testing.T) {
	ctx, c := t.Context(), newCluster(t)
	c.array.fault(rdssim.Fault{Kind: rdssim.DropAfter, Match: "/disk add", Count: -1})
	if _, err := c.tryCreate(ctx, spec{name: "pvc-1"}); status.Code(err) != codes.Unavailable {
		t.Errorf("CreateVolume whose answer is lost: %v", err)
	}
	c.controller.stop()
	c.controller.start()
	c.array.noFaults()
	var v *volume
	retry(t, time.Minute, func() (err error) {
		v, err = c.tryCreate(ctx, spec{name: "pvc-1"})
		return err
	})
	item, there := c.array.item(v)
	if !there || int64(item.Size) != v.size || item.Exported {
		t.Errorf("the array has %+v, %t; the volume is %+v", item, there, v)
	}
	ok(t, c.delete(ctx, v))
	if _, there := c.array.item(v); there {
		t.Error("the item is left on the array")
	}
	if _, err := os.Stat(c.array.file(v)); !os.IsNotExist(err) {
		t.Errorf("the file is left on the array: %v", err)
	}
}

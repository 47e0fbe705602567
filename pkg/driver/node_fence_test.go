package driver

import (
	"context"
	"slices"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
)

// A volume that wanders is formatted once, and each time it is held it has another name.
func TestFromAToBAndBack(t *testing.T) {
	r := newRig(t)
	v := r.create(t, "wanderer", gib, mounted("ext4", singleWriter))
	names := map[string]bool{}
	for _, m := range []*machine{r.a, r.b, r.a, r.b} {
		wantCode(t, v.publishTo(m), codes.OK)
		if names[v.nqn()] {
			t.Errorf("%s comes a second time", v.nqn())
		}
		names[v.nqn()] = true
		wantCode(t, v.stage(m), codes.OK)
		wantCode(t, v.nodePublish(m, "pod"), codes.OK)
		wantCode(t, v.nodeUnpublish(m, "pod"), codes.OK)
		wantCode(t, v.unstage(m), codes.OK)
		wantCode(t, v.unpublishFrom(m), codes.OK)
		m.mustBeClean(t)
	}
	if n := r.a.ran("mkfs") + r.b.ran("mkfs"); n != 1 {
		t.Errorf("mkfs ran %d times", n)
	}
}

func TestFencedNodeCannotComeBack(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	onA := *v
	wantCode(t, v.unpublishFrom(r.a), codes.OK) // a is taken for dead
	if r.array.MayConnect(onA.nqn(), r.a.id.HostNQN()) {
		t.Error("the array lets node a in under the old NQN")
	}
	wantCode(t, v.publishTo(r.b), codes.OK)
	wantCode(t, v.stage(r.b), codes.OK)

	r.a.lose(onA.nqn()) // its session is cut; kubelet tries again with what it has
	wantCode(t, onA.stage(r.a), codes.Unavailable)
	if r.a.controllerOf(onA.nqn()) != "" {
		t.Error("node a is connected again")
	}
	stolen := *v // and not even with b's NQN
	wantCode(t, stolen.stage(r.a), codes.Unavailable)
	if c := r.a.nvme.Controllers(); len(c) != 0 {
		t.Errorf("node a is connected: %v", c)
	}
	wantCode(t, v.nodePublish(r.b, "pod"), codes.OK)
	wantCode(t, onA.unstage(r.a), codes.OK)
	r.a.mustBeClean(t)
}

// A node that was fenced and gets the volume again lets go of the old attachment first.
func TestNewTokenOnTheSameNode(t *testing.T) {
	for name, lost := range map[string]bool{"old controller still there": false, "old controller gone": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			v := r.attached(t, "v", mounted("ext4", singleWriter))
			old := v.nqn()
			r.a.mayRevoke(old)
			if lost {
				r.a.lose(old)
			}
			wantCode(t, v.unpublishFrom(r.a), codes.OK)
			wantCode(t, v.publishTo(r.a), codes.OK)
			wantCode(t, v.stage(r.a), codes.OK)
			if old == v.nqn() || r.a.controllerOf(old) != "" || r.a.controllerOf(v.nqn()) == "" {
				t.Errorf("old %s: %q, new %s: %q", old, r.a.controllerOf(old), v.nqn(), r.a.controllerOf(v.nqn()))
			}
			if n := r.a.ran("mkfs"); n != 1 {
				t.Errorf("mkfs ran %d times", n)
			}
			wantCode(t, v.unstage(r.a), codes.OK)
			r.a.mustBeClean(t)
		})
	}
}

// That the volume comes back under another name proves that what is mounted was revoked: its writes
// must never arrive any more, so the controller goes first, and nothing waits for it.
func TestNewTokenTakesTheOldOneFromItsUsers(t *testing.T) {
	for name, state := range map[string]string{"cut off": "connecting", "still live": "live"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			v := r.attached(t, "v", mounted("ext4", singleWriter))
			wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
			old := v.nqn()
			r.a.nvme.SetState(r.a.controllerOf(old), state)
			wantCode(t, v.unpublishFrom(r.a), codes.OK)
			wantCode(t, v.publishTo(r.a), codes.OK)
			r.a.mayRevoke(old)
			r.a.effects.arm(0, 0, nil)
			wantCode(t, v.stage(r.a), codes.OK)
			if r.a.controllerOf(old) != "" || r.a.controllerOf(v.nqn()) == "" || len(r.a.table()) != 1 {
				t.Errorf("old controller %q, new %q, mounts %+v", r.a.controllerOf(old), r.a.controllerOf(v.nqn()), r.a.table())
			}
			steps := r.a.effects.seen()
			gone, unmounted, connected := slices.Index(steps, "write delete_controller"), slices.Index(steps, "umount"), slices.Index(steps, "connect")
			if gone < 0 || gone > unmounted || unmounted > connected {
				t.Errorf("steps %q: the controller goes first, then the mounts, and only then comes the new one", steps)
			}
			if r.a.logs.FilterMessage("fenced, unsynced data dropped").Len() != 1 {
				t.Error("nothing says that data was dropped")
			}
			wantCode(t, v.nodePublish(r.a, "new-pod"), codes.OK)
			wantCode(t, v.nodeUnpublish(r.a, "pod"), codes.OK)
		})
	}
}

// Btrfs is refused while a container has its dead copy: the old attachment is gone for good all the same, and
// the volume can be staged once the container is.
func TestNewTokenWhileAContainerHasTheOldBtrfs(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("btrfs", singleWriter))
	wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
	stop := r.a.mounts.StartContainer(v.target(r.a, "pod"))
	old := v.nqn()
	r.a.pin(v.target(r.a, "pod"))
	r.a.nvme.SetState(r.a.controllerOf(old), "connecting")
	wantCode(t, v.unpublishFrom(r.a), codes.OK)
	wantCode(t, v.publishTo(r.a), codes.OK)
	r.a.mayRevoke(old)
	wantCode(t, v.stage(r.a), codes.FailedPrecondition, "a container with a dead copy of this volume")
	r.a.mustBeClean(t)
	stop()
	wantCode(t, v.stage(r.a), codes.OK)
	wantCode(t, v.unstage(r.a), codes.OK)
	r.a.mustBeClean(t)
}

// A caller that has gone, such as a kubelet that restarted, revokes nothing any more.
func TestACancelledStageRevokesNothing(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	old := v.nqn()
	wantCode(t, v.unpublishFrom(r.a), codes.OK)
	wantCode(t, v.publishTo(r.a), codes.OK)
	ctx, cancel := context.WithCancel(soon(t))
	cancel()
	if _, err := r.a.driver.node.NodeStageVolume(ctx, v.stageRequest(r.a)); err == nil {
		t.Error("a cancelled call claims to have staged")
	}
	if r.a.controllerOf(old) == "" || len(r.a.table()) != 1 {
		t.Error("the old attachment was touched")
	}
}

// Two nodes hold a raw block volume for a live migration; the one that goes does not take it from the other.
func TestLiveMigration(t *testing.T) {
	r := newRig(t)
	v := r.create(t, "vm", gib, block(sharedWriter))
	wantCode(t, v.publishTo(r.a), codes.OK)
	onA := *v
	wantCode(t, v.publishTo(r.b), codes.OK)
	if onA.nqn() != v.nqn() {
		t.Errorf("two NQNs for one subsystem: %s, %s", onA.nqn(), v.nqn())
	}
	for _, m := range []*machine{r.a, r.b} {
		wantCode(t, v.stageOn(m, &onA), codes.OK)
		wantCode(t, v.nodePublish(m, "vm"), codes.OK)
	}
	resp, err := r.controller.ControllerGetVolume(soon(t), &csi.ControllerGetVolumeRequest{VolumeId: v.VolumeId})
	wantCode(t, err, codes.OK)
	if nodes := resp.GetStatus().GetPublishedNodeIds(); len(nodes) != 2 {
		t.Errorf("published to %v", nodes)
	}
	c := newMachine(t, r.array, "node-c")
	wantCode(t, v.publishTo(c), codes.FailedPrecondition, r.a.id.String(), r.b.id.String())
	wantCode(t, v.nodeUnpublish(r.a, "vm"), codes.OK)
	wantCode(t, v.unstage(r.a), codes.OK)
	wantCode(t, v.unpublishFrom(r.a), codes.OK)
	if !r.array.MayConnect(v.nqn(), r.b.id.HostNQN()) || r.array.MayConnect(v.nqn(), r.a.id.HostNQN()) {
		t.Error("after a has gone, b alone may connect")
	}
	wantCode(t, v.stageOn(r.b, &onA), codes.OK)
	wantCode(t, v.delete(), codes.FailedPrecondition, r.b.id.String())
}

// stageOn stages with the publish context of that node: onA is a's, v's own is b's.
func (v *volume) stageOn(m *machine, onA *volume) error {
	if m == v.rig.a {
		return onA.stage(m)
	}
	return v.stage(m)
}

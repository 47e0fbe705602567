package driver

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
)

const cancelled = "is cancelled"

// death is a way in which a call may go wrong at its n-th effect on the machine.
type death struct {
	name string
	arm  func(m *machine, n int, cancel context.CancelFunc)
	dies bool // the process ends there
	// repeats are the ways on from there: the call is repeated, or the volume is brought to its end at once.
	repeats []bool
}

func deaths() []death {
	return []death{
		{"fails", func(m *machine, n int, _ context.CancelFunc) { m.effects.arm(n, 0, nil) }, false, []bool{true, false}},
		{"dies before", func(m *machine, n int, _ context.CancelFunc) { m.effects.arm(0, n, m.freezeRecordsAt(n)) }, true, []bool{true}},
		{"dies after", func(m *machine, n int, _ context.CancelFunc) { m.effects.arm(0, n+1, m.freezeRecordsAt(n)) }, true, []bool{false}},
		{cancelled, func(m *machine, n int, cancel context.CancelFunc) {
			m.effects.arm(0, 0, func(i int, _ string) {
				if i == n {
					cancel()
				}
			})
		}, false, []bool{true}},
	}
}

// freezeRecordsAt makes the n-th effect the last moment at which records could be written.
func (m *machine) freezeRecordsAt(n int) func(int, string) {
	return func(i int, _ string) {
		if i == n {
			if err := os.Rename(m.recordDir(), m.recordDir()+".frozen"); err != nil {
				m.t.Error(err)
			}
		}
	}
}

// restart is a new process on the machine as the dead one has left it.
func (m *machine) restart() {
	m.t.Helper()
	if _, err := os.Stat(m.recordDir() + ".frozen"); err == nil {
		if err := os.Rename(m.recordDir()+".frozen", m.recordDir()); err != nil {
			m.t.Fatal(err)
		}
	}
	m.effects.arm(0, 0, nil)
	m.boot()
}

// nodeCall is one call of the node service, made without gRPC so that its context is ours.
type nodeCall func(ctx context.Context, n *node, v *volume, m *machine) error

func callStage(ctx context.Context, n *node, v *volume, m *machine) error {
	if err := os.MkdirAll(v.stagingPath(m), 0o750); err != nil {
		return err
	}
	_, err := n.NodeStageVolume(ctx, v.stageRequest(m))
	return statusOf(err)
}

func callPublish(ctx context.Context, n *node, v *volume, m *machine) error {
	_, err := n.NodePublishVolume(ctx, v.nodePublishRequest(m, "pod"))
	return statusOf(err)
}

func callUnstage(ctx context.Context, n *node, v *volume, m *machine) error {
	_, err := n.NodeUnstageVolume(ctx, &csi.NodeUnstageVolumeRequest{VolumeId: v.VolumeId, StagingTargetPath: v.stagingPath(m)})
	return statusOf(err)
}

// isFinal is kubelet's judgement (pkg/volume/csi, isFinalError): after such a code it takes the
// volume for not being there, and never unstages.
func isFinal(err error) bool {
	return !slices.Contains([]codes.Code{
		codes.OK, codes.Canceled, codes.DeadlineExceeded, codes.Unavailable, codes.ResourceExhausted, codes.Aborted,
	}, status.Code(err))
}

// broken is a call that went wrong at one of its effects.
type broken struct {
	*volume
	m         *machine
	err       error
	name      string   // of the effect
	steps     []string // all effects
	n         int      // which of them, counted from 1
	before    int      // mounts that there were before the call
	cancelled bool
}

// atEveryEffect makes call go wrong at each of its effects, in every way, with a new volume each
// time, and then brings the volume to an end: at once, or after the call was repeated.
func atEveryEffect(t *testing.T, r *rig, capability *csi.VolumeCapability, prepare func(v *volume), call nodeCall, check func(t *testing.T, b broken)) {
	for _, death := range deaths() {
		for _, repeat := range death.repeats {
			t.Run(fmt.Sprintf("%s, repeated %t", death.name, repeat), func(t *testing.T) {
				n, going := 1, true
				for ; going; n++ {
					b := breakAt(t, r, n, death, capability, prepare, call)
					if going = b.name != ""; !going {
						wantCode(t, b.err, codes.OK)
					} else if !death.dies {
						check(t, b)
					}
					if repeat {
						wantCode(t, call(soon(t), newNode(r.a.driver, *r.a.driver.cfg.Node), b.volume, r.a), codes.OK)
					}
					b.end(t)
				}
				if n < 3 {
					t.Error("no effects: the seams see nothing")
				}
			})
		}
	}
}

// breakAt makes one call go wrong at its n-th effect; the name is empty if it has not so many.
func breakAt(t *testing.T, r *rig, n int, death death, capability *csi.VolumeCapability, prepare func(v *volume), call nodeCall) broken {
	t.Helper()
	v := r.create(t, fmt.Sprintf("%s %d", t.Name(), n), 16*mib, capability)
	prepare(v)
	b := broken{volume: v, m: r.a, n: n, before: len(r.a.table()), cancelled: death.name == cancelled}
	ctx, cancel := context.WithCancel(soon(t))
	defer cancel()
	death.arm(r.a, n, cancel)
	b.err = call(ctx, newNode(r.a.driver, *r.a.driver.cfg.Node), v, r.a)
	if b.steps = r.a.effects.seen(); len(b.steps) >= n {
		b.name = b.steps[n-1]
	}
	r.a.effects.arm(0, 0, nil)
	if death.dies {
		r.a.restart()
	}
	return b
}

// end takes everything of the volume down as kubelet would, which must work, and leave nothing.
func (b broken) end(t *testing.T) {
	t.Helper()
	wantCode(t, b.nodeUnpublish(b.m, "pod"), codes.OK)
	wantCode(t, b.unstage(b.m), codes.OK)
	waitFor(t, "controllers that came late to go", func() bool { return len(b.m.nvme.Controllers()) == 0 })
	b.m.mustBeClean(t)
	wantCode(t, b.unpublishFrom(b.m), codes.OK)
	wantCode(t, b.delete(), codes.OK)
	if t.Failed() {
		t.Fatalf("at effect %d, %s", b.n, b.name)
	}
}

// A first stage that goes wrong rolls back, or leaves the record by which the rest is found.
func TestStageGoesWrongAtEveryEffect(t *testing.T) {
	for name, capability := range map[string]*csi.VolumeCapability{"ext4": mounted("ext4", singleWriter), "block": block(singleWriter)} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			atEveryEffect(t, r, capability, func(v *volume) { wantCode(t, v.publishTo(r.a), codes.OK) }, callStage, wantRolledBack)
		})
	}
}

// The same, of a volume that has its file system already.
func TestLaterStageGoesWrongAtEveryEffect(t *testing.T) {
	r := newRig(t)
	formatted := func(v *volume) {
		wantCode(t, v.publishTo(r.a), codes.OK)
		wantCode(t, v.stage(r.a), codes.OK)
		wantCode(t, v.unstage(r.a), codes.OK)
	}
	atEveryEffect(t, r, mounted("ext4", singleWriter), formatted, callStage, wantRolledBack)
}

func wantRolledBack(t *testing.T, b broken) {
	t.Helper()
	records := b.m.records()
	switch {
	case b.err == nil:
	case isFinal(b.err), len(records) == 0:
		b.m.mustBeClean(t)
	case b.cancelled, records[0].Format == stage.Formatting: // the next call goes on from there
	case b.name == "connect": // what was made is gone, but that is for the next call to prove
		if len(b.m.nvme.Controllers()) != 0 || len(b.m.table()) != 0 {
			t.Errorf("left: %v, %+v", b.m.nvme.Controllers(), b.m.table())
		}
	default:
		t.Errorf("at %s: %v, and the record is still there", b.name, b.err)
	}
	wantNothingMore(t, b)
}

// wantNothingMore: a call that was cancelled begins nothing more, and forces nothing off.
func wantNothingMore(t *testing.T, b broken) {
	t.Helper()
	if !b.cancelled {
		return
	}
	// A mount and the looks right before it are one step, which pkg/mount leaves to itself when its
	// caller goes.
	mounts := func(s string) bool { return s == "mount" || s == "bind" }
	acts := func(s string) bool { return s != "mountinfo" && s != "open" }
	for i := b.n; i < len(b.steps); i++ {
		later := b.steps[i]
		begun := mounts(later) && !slices.ContainsFunc(b.steps[b.n-1:i], acts)
		undone := later == "umount" && slices.ContainsFunc(b.steps[:i], mounts)
		if !begun && !undone && (mounts(later) || later == "umount" || later == "connect" || strings.HasPrefix(later, "mkfs")) {
			t.Errorf("cancelled at %s, and then came %s", b.name, later)
		}
	}
}

// Of a volume that is staged, a second stage that goes wrong takes nothing away, and says nothing final.
func TestRepeatedStageGoesWrongAtEveryEffect(t *testing.T) {
	r := newRig(t)
	staged := func(v *volume) {
		wantCode(t, v.publishTo(r.a), codes.OK)
		wantCode(t, v.stage(r.a), codes.OK)
	}
	atEveryEffect(t, r, mounted("ext4", singleWriter), staged, callStage, func(t *testing.T, b broken) {
		if isFinal(b.err) || len(b.m.table()) != b.before || b.m.controllerOf(b.nqn()) == "" || len(b.m.records()) != 1 {
			t.Errorf("at %s: %v; mounts %+v, records %+v", b.name, b.err, b.m.table(), b.m.records())
		}
	})
}

func TestNodePublishGoesWrongAtEveryEffect(t *testing.T) {
	for name, capability := range map[string]*csi.VolumeCapability{"ext4": mounted("ext4", singleWriter), "block": block(singleWriter)} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			staged := func(v *volume) {
				wantCode(t, v.publishTo(r.a), codes.OK)
				wantCode(t, v.stage(r.a), codes.OK)
			}
			atEveryEffect(t, r, capability, staged, callPublish, func(t *testing.T, b broken) {
				_, statErr := os.Lstat(b.target(b.m, "pod"))
				if isFinal(b.err) && (len(b.m.table()) != b.before || !os.IsNotExist(statErr)) {
					t.Errorf("at %s: %v is final, but: mounts %+v, target %v", b.name, b.err, b.m.table(), statErr)
				}
				wantNothingMore(t, b)
			})
		})
	}
}

// An unstage that goes wrong can be repeated, or the volume staged anew, and says OK only when all is gone.
func TestUnstageGoesWrongAtEveryEffect(t *testing.T) {
	r := newRig(t)
	staged := func(v *volume) {
		wantCode(t, v.publishTo(r.a), codes.OK)
		wantCode(t, v.stage(r.a), codes.OK)
	}
	atEveryEffect(t, r, mounted("ext4", singleWriter), staged, callUnstage, func(t *testing.T, b broken) {
		if b.err == nil {
			b.m.mustBeClean(t)
			return
		}
		if len(b.m.records()) != 1 {
			t.Errorf("at %s: %v, and the record is gone", b.name, b.err)
		}
		wantCode(t, b.stage(b.m), codes.OK)
		wantCode(t, b.nodePublish(b.m, "pod"), codes.OK)
		wantCode(t, b.nodeUnpublish(b.m, "pod"), codes.OK)
	})
}

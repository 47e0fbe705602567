package driver

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// ran counts the tools of a kind that were run on the machine.
func (m *machine) ran(prefix string) int {
	return len(slices.DeleteFunc(m.mounts.Calls(), func(call string) bool { return !strings.HasPrefix(call, prefix) }))
}

func TestStagingTwiceIsANoop(t *testing.T) {
	r := newRig(t)
	for name, capability := range map[string]func() *volume{
		"file system": func() *volume { return r.attached(t, "fs", mounted("ext4", singleWriter)) },
		"raw block":   func() *volume { return r.attached(t, "raw", block(singleWriter)) },
	} {
		t.Run(name, func(t *testing.T) {
			v := capability()
			noops, creates, controller := r.a.operations(t, telemetry.OpStage, telemetry.StatusNoop), len(r.a.nvme.Creates()), r.a.controllerOf(v.nqn())
			mounts, mkfs := len(r.a.table()), r.a.ran("mkfs")
			for range 3 {
				wantCode(t, v.stage(r.a), codes.OK)
			}
			if n := r.a.operations(t, telemetry.OpStage, telemetry.StatusNoop); n != noops+3 {
				t.Errorf("%d noops, want 3 more than %d", n, noops)
			}
			if got := r.a.controllerOf(v.nqn()); got != controller || len(r.a.nvme.Creates()) != creates {
				t.Errorf("controller %s became %s; connects %q", controller, got, r.a.nvme.Creates())
			}
			if len(r.a.table()) != mounts || r.a.ran("mkfs") != mkfs {
				t.Errorf("mounts %+v, tools %q", r.a.table(), r.a.mounts.Calls())
			}
			wantCode(t, v.unstage(r.a), codes.OK)
			if n := r.a.operations(t, telemetry.OpUnstage, telemetry.StatusNoop); n != 0 {
				t.Errorf("the first unstage was a noop")
			}
		})
	}
}

func TestStageRefusesAnotherWayWhileInUse(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	other := *v
	other.capability = mounted("xfs", singleWriter)
	wantCode(t, other.stage(r.a), codes.AlreadyExists, v.stagingPath(r.a))
	elsewhere := v.stageRequest(r.a)
	elsewhere.StagingTargetPath = filepath.Join(r.a.dir, "elsewhere")
	_, err := r.a.NodeStageVolume(soon(t), elsewhere)
	wantCode(t, err, codes.AlreadyExists)
	wantCode(t, v.stage(r.a), codes.OK) // and all is as it was
	wantCode(t, v.unstage(r.a), codes.OK)
	r.a.mustBeClean(t)
}

func TestStageAfterAReboot(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", multiWriter))
	wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
	// The machine restarts: mounts and controllers are gone, the plugin's directory is not.
	for _, path := range []string{v.target(r.a, "pod"), v.stagingPath(r.a)} {
		if err := (mountsSeam{r.a}).Unmount(path); err != nil {
			t.Fatal(err)
		}
	}
	r.a.lose(v.nqn())
	r.a.boot()
	wantCode(t, v.nodePublish(r.a, "pod"), codes.Unavailable, "staged again")
	wantCode(t, v.stage(r.a), codes.OK)
	if r.a.operations(t, telemetry.OpStage, telemetry.StatusNoop) != 0 {
		t.Error("staging after a reboot is no noop")
	}
	wantCode(t, v.nodePublish(r.a, "pod2"), codes.OK) // the old target is recorded, and not mounted
	if n := r.a.ran("mkfs"); n != 1 {
		t.Errorf("mkfs ran %d times", n)
	}
}

func TestRecordSurvivesADriverRestart(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
	r.a.boot()
	wantCode(t, v.stage(r.a), codes.OK)
	wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
	for _, op := range []telemetry.Operation{telemetry.OpStage, telemetry.OpPublish} {
		if n := r.a.operations(t, op, telemetry.StatusNoop); n != 1 {
			t.Errorf("%s after the restart: %d noops, want 1", op, n)
		}
	}
	wantCode(t, v.nodePublish(r.a, "pod2"), codes.FailedPrecondition, v.target(r.a, "pod"))
	wantCode(t, v.nodeUnpublish(r.a, "pod"), codes.OK)
	wantCode(t, v.unstage(r.a), codes.OK)
	r.a.mustBeClean(t)
}

// A record that cannot be read may stand for anything: nothing is done, and nothing is final.
func TestDamagedRecordStopsEverythingButIsNotFinal(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	files, err := filepath.Glob(filepath.Join(r.a.recordDir(), "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	whole, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0], whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	wantCode(t, v.stage(r.a), codes.Unavailable, "record")
	wantCode(t, v.nodePublish(r.a, "pod"), codes.Unavailable)
	wantCode(t, v.unstage(r.a), codes.Unavailable)
	if r.a.controllerOf(v.nqn()) == "" || len(r.a.table()) != 1 {
		t.Error("something was taken down on the word of a damaged record")
	}
	if err := os.WriteFile(files[0], whole, 0o600); err != nil {
		t.Fatal(err)
	}
	wantCode(t, v.unstage(r.a), codes.OK)
	r.a.mustBeClean(t)
}

func TestStageWithoutControllerPublish(t *testing.T) {
	r := newRig(t)
	v := r.create(t, "v", gib, mounted("ext4", singleWriter))
	wantCode(t, v.stage(r.a), codes.InvalidArgument, "publish_context")
	r.a.mustBeClean(t)
}

func TestStageWhenTheArrayDoesNotAnswer(t *testing.T) {
	r := newRig(t)
	v := r.create(t, "v", gib, mounted("ext4", singleWriter))
	wantCode(t, v.publishTo(r.a), codes.OK)
	r.a.nvme.Silence(r.a.portal)
	wantCode(t, v.stage(r.a), codes.Unavailable)
	if len(r.a.nvme.Controllers()) != 0 || len(r.a.table()) != 0 {
		t.Errorf("left: %v %+v", r.a.nvme.Controllers(), r.a.table())
	}
	wantCode(t, v.unstage(r.a), codes.OK)
	r.a.mustBeClean(t)
}

func TestStageIsADeadlineCallersCanTrust(t *testing.T) {
	r := newRig(t)
	v := r.create(t, "v", gib, mounted("ext4", singleWriter))
	wantCode(t, v.publishTo(r.a), codes.OK)
	release := r.a.nvme.HoldCreates()
	ctx, cancel := context.WithCancel(soon(t))
	failed := make(chan error, 1)
	go func() { failed <- v.stageIn(ctx, r.a) }()
	waitFor(t, "the kernel to be asked", func() bool { return len(r.a.nvme.Creates()) == 1 })
	cancel()
	wantCode(t, <-failed, codes.Canceled)
	release()
	// The first call may still be on its way out; then the next adopts what the kernel made late, or
	// makes another.
	waitFor(t, "the next stage", func() bool { return v.stage(r.a) == nil })
	wantCode(t, v.unstage(r.a), codes.OK)
	waitFor(t, "the late controller to go", func() bool { return len(r.a.nvme.Controllers()) == 0 })
	r.a.mustBeClean(t)
}

// target is how another program on the node would connect to an NQN.
func (m *machine) connection(nqn, hostNQN string) nvme.Target {
	return nvme.Target{NQN: nqn, HostNQN: hostNQN, HostID: strings.TrimPrefix(hostNQN, hostNQNPrefix), Portals: []nvme.Portal{m.portal}}
}

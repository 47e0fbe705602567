package driver

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// condition looks at a volume that must be listed.
func (m *machine) condition(t testing.TB, v *volume) Condition {
	t.Helper()
	all, err := m.driver.Staged().Look(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	return pick(t, all, v)
}

func pick(t testing.TB, all []Condition, v *volume) Condition {
	t.Helper()
	i := slices.IndexFunc(all, func(c Condition) bool { return c.VolumeID == v.VolumeId })
	if i < 0 {
		t.Fatalf("%s is not among %+v", v.VolumeId, all)
	}
	return all[i]
}

func (m *machine) mustBe(t testing.TB, v *volume, state telemetry.MountState, reason telemetry.StaleReason, heal bool) Condition {
	t.Helper()
	c := m.condition(t, v)
	if c.State != state || c.Reason != reason || c.Heal != heal {
		t.Fatalf("condition %+v, want %s %s, heal %t", c, state, reason, heal)
	}
	return c
}

func (m *machine) heal(t testing.TB, v *volume) error {
	t.Helper()
	return m.driver.Staged().Heal(soon(t), v.VolumeId)
}

func (m *machine) mustHeal(t testing.TB, v *volume) {
	t.Helper()
	if err := m.heal(t, v); err != nil {
		t.Fatalf("heal: %v", err)
	}
	m.mustBe(t, v, telemetry.MountHealthy, "", false)
}

func TestAVolumeIsHealedAfterItsControllerWasLost(t *testing.T) {
	for _, fs := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(fs, func(t *testing.T) {
			r := newRig(t)
			v := r.attached(t, "v", mounted(fs, multiWriter))
			wantCode(t, v.nodePublish(r.a, "rw"), codes.OK)
			wantCode(t, v.nodePublishReadOnly(r.a, "ro"), codes.OK)
			r.a.mustBe(t, v, telemetry.MountHealthy, "", false)
			old := r.a.table()[0].Dev
			r.a.lose(v.nqn())
			if c := r.a.mustBe(t, v, telemetry.MountStale, telemetry.StaleDeviceGone, true); c.Link != nvme.LinkGone {
				t.Errorf("link %q", c.Link)
			}
			r.a.mustHeal(t, v)
			table := r.a.table()
			for _, at := range table {
				if at.Dev == old || at.ReadOnly() != strings.HasSuffix(at.Path, ".ro") {
					t.Errorf("after healing: %+v", at)
				}
			}
			if len(table) != 3 || r.a.ran("mkfs") != 1 {
				t.Errorf("%d mounts, %d mkfs", len(table), r.a.ran("mkfs"))
			}
			wantCode(t, v.nodeUnpublish(r.a, "rw"), codes.OK)
			wantCode(t, v.nodeUnpublish(r.a, "ro"), codes.OK)
			wantCode(t, v.unstage(r.a), codes.OK)
			r.a.mustBeClean(t)
		})
	}
}

// What was lost under way may need its journal replayed: it is checked, and never while it is mounted.
func TestHealingChecksTheFileSystem(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	checks := r.a.ran("fsck.ext4")
	r.a.lose(v.nqn())
	r.a.mustHeal(t, v)
	if n := r.a.ran("fsck.ext4"); n != checks+1 {
		t.Errorf("fsck ran %d times more, want once", n-checks)
	}
}

// While the kernel tries to reach the target nothing is done: it resumes by itself, and nothing is lost.
func TestNothingIsDoneWhileTheKernelReconnects(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	name := r.a.controllerOf(v.nqn())
	r.a.nvme.SetState(name, "connecting")
	if c := r.a.mustBe(t, v, telemetry.MountUnknown, "", false); c.Link != nvme.LinkAway || !strings.Contains(c.Detail, "connecting") {
		t.Errorf("condition %+v", c)
	}
	r.a.effects.arm(0, 0, nil)
	if err := r.a.heal(t, v); err != nil || slices.ContainsFunc(r.a.effects.seen(), changes) {
		t.Errorf("heal: %v, with effects %q", err, r.a.effects.seen())
	}
	r.a.nvme.SetState(name, "live")
	r.a.mustBe(t, v, telemetry.MountHealthy, "", false)
}

// changes tells the effects that change something from those that look.
func changes(effect string) bool { return effect != "mountinfo" }

func TestAReplacedNamespaceIsHealedOnTheSameController(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
	name := r.a.controllerOf(v.nqn())
	r.a.loseNamespace(v.nqn())
	if c := r.a.mustBe(t, v, telemetry.MountStale, telemetry.StaleDeviceGone, true); c.Link != nvme.LinkLive {
		t.Errorf("link %q", c.Link)
	}
	r.a.mustHeal(t, v)
	if now := r.a.controllerOf(v.nqn()); now != name {
		t.Errorf("controller %s was replaced by %s", name, now)
	}
	wantCode(t, v.nodeUnpublish(r.a, "pod"), codes.OK)
	wantCode(t, v.unstage(r.a), codes.OK)
	r.a.mustBeClean(t)
}

// A fenced volume is refused however often it is tried; what is mounted stays, as nothing is proven.
func TestAFencedVolumeIsNotHealed(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
	wantCode(t, v.unpublishFrom(r.a), codes.OK)
	r.a.lose(v.nqn())
	for range 3 {
		if err := r.a.heal(t, v); fault.ReasonOf(err) != fault.NVMeDenied {
			t.Fatalf("heal: %v", err)
		}
	}
	r.a.mustBe(t, v, telemetry.MountStale, telemetry.StaleDeviceGone, true)
	if n := len(r.a.table()); n != 2 || len(r.a.records()) != 1 {
		t.Errorf("%d mounts, records %+v", n, r.a.records())
	}
	wantCode(t, v.nodeUnpublish(r.a, "pod"), codes.OK) // what is dead has nothing left to write
	wantCode(t, v.unstage(r.a), codes.OK)
	r.a.mustBeClean(t)
}

func TestAFileSystemThatHasStoppedWaitsForItsPods(t *testing.T) {
	for name, tt := range map[string]struct {
		harm   func(m *machine, v *volume)
		state  telemetry.MountState
		reason telemetry.StaleReason
	}{
		"errors counted":   {func(m *machine, v *volume) { m.mounts.CountErrors(m.disk(v.nqn()), 2) }, telemetry.MountStale, telemetry.StaleIOError},
		"turned read-only": {func(m *machine, v *volume) { m.mounts.TurnReadOnly(v.stagingPath(m)) }, telemetry.MountReadOnly, telemetry.StaleReadOnly},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			v := r.attached(t, "v", mounted("ext4", multiWriter))
			wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
			tt.harm(r.a, v)
			if c := r.a.mustBe(t, v, tt.state, tt.reason, false); !strings.Contains(c.Detail, "delete the pods") {
				t.Errorf("detail %q", c.Detail)
			}
			wantCode(t, v.nodePublish(r.a, "other"), codes.Unavailable, "delete the pods")
			wantCode(t, v.nodeUnpublish(r.a, "pod"), codes.OK)
			r.a.mustBe(t, v, tt.state, tt.reason, true)
			r.a.mounts.CountErrors(r.a.disk(v.nqn()), 0) // as the check does
			if name == "errors counted" {
				return
			}
			r.a.mustHeal(t, v)
			wantCode(t, v.nodePublish(r.a, "other"), codes.OK)
		})
	}
}

// A running container has its own copy of the dead mount until it is restarted; that is reported.
func TestADeadCopyInAContainerIsReported(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
	stop := r.a.mounts.StartContainer(v.target(r.a, "pod"))
	r.a.pin(v.target(r.a, "pod"))
	r.a.lose(v.nqn())
	r.a.mustHeal(t, v)
	if c := r.a.condition(t, v); !slices.Equal(c.HeldBy, []string{"nvme0n1"}) {
		t.Errorf("held by %q", c.HeldBy)
	}
	stop()
	if c := r.a.condition(t, v); len(c.HeldBy) != 0 {
		t.Errorf("still held by %q", c.HeldBy)
	}
}

// The node of a raw block device is a number that the kernel gives to others: it goes at once, and
// comes back with the device.
func TestABlockTargetGoesWithItsDevice(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", block(singleWriter))
	wantCode(t, v.nodePublish(r.a, "vm"), codes.OK)
	r.a.lose(v.nqn())
	r.a.nvme.Silence(r.a.portal)
	if err := r.a.heal(t, v); fault.ReasonOf(err) != fault.NVMeConnectRefused {
		t.Fatalf("heal: %v", err)
	}
	if table := r.a.table(); len(table) != 0 {
		t.Errorf("the node is still bound: %+v", table)
	}
	r.a.boot() // what is to come back outlives the plugin
	r.a.mustBe(t, v, telemetry.MountStale, telemetry.StaleDeviceGone, true)
	r.a.nvme.Listen(r.a.portal)
	r.a.mustHeal(t, v)
	if table := r.a.table(); len(table) != 1 || table[0].Path != v.target(r.a, "vm") {
		t.Errorf("mounts %+v", table)
	}
	wantCode(t, v.nodeUnpublish(r.a, "vm"), codes.OK)
	wantCode(t, v.unstage(r.a), codes.OK)
	r.a.mustBeClean(t)
}

// The plugin dies at each effect of a recovery; what it left is healed by the next one.
func TestARecoveryCanDieAnywhere(t *testing.T) {
	for _, fs := range []string{"ext4", "btrfs"} {
		for at := 1; ; at++ {
			r := newRig(t)
			v := r.attached(t, "v", mounted(fs, multiWriter))
			wantCode(t, v.nodePublish(r.a, "one"), codes.OK)
			wantCode(t, v.nodePublish(r.a, "two"), codes.OK)
			r.a.lose(v.nqn())
			r.a.effects.arm(0, at, nil)
			err := r.a.heal(t, v)
			died := len(r.a.effects.seen()) >= at
			r.a.effects.arm(0, 0, nil)
			if died && err == nil && at < len(r.a.effects.seen()) {
				t.Errorf("%s, effect %d: no error", fs, at)
			}
			r.a.boot()
			if r.a.condition(t, v).Heal {
				r.a.mustHeal(t, v)
			}
			r.a.mustBe(t, v, telemetry.MountHealthy, "", false)
			if n := len(r.a.table()); n != 3 || r.a.ran("mkfs") != 1 {
				t.Errorf("%s, effect %d: %d mounts, %d mkfs", fs, at, n, r.a.ran("mkfs"))
			}
			if !died {
				if at < 8 {
					t.Errorf("%s: only %d effects: the recovery does not do what it should", fs, at)
				}
				break
			}
		}
	}
}

func TestAnotherBootIsNotHealed(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
	old := *v
	r.a.reboot()
	if all, err := r.a.driver.Staged().Look(soon(t)); err != nil || len(all) != 0 {
		t.Errorf("staged: %+v, %v", all, err)
	}
	wantCode(t, old.stage(r.a), codes.OK) // kubelet does it again
	wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
	r.a.mustBe(t, v, telemetry.MountHealthy, "", false)
}

func TestACallAndARecoveryTakeTurns(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	end, err := r.a.driver.nodeOps.begin(v.VolumeId, "unstage")
	if err != nil {
		t.Fatal(err)
	}
	r.a.lose(v.nqn())
	if err := r.a.heal(t, v); fault.KindOf(err) != fault.InFlight {
		t.Errorf("heal beside a call: %v", err)
	}
	if c := r.a.condition(t, v); !c.Busy || c.Heal {
		t.Errorf("condition beside a call: %+v", c)
	}
	end()
	r.a.mustHeal(t, v)
}

func TestReleaseLetsGoOfWhatTheKernelWaitsFor(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
	wantCode(t, v.unpublishFrom(r.a), codes.OK)
	name := r.a.controllerOf(v.nqn())
	ask := func() {
		t.Helper()
		if err := r.a.config().Records.AskRelease(stage.Release{VolumeID: v.VolumeId, NQN: v.nqn(), AskedAt: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	ask() // while it is connected it can be unmounted like any other
	if err := r.a.heal(t, v); fault.KindOf(err) != fault.Precondition || r.a.controllerOf(v.nqn()) == "" || len(r.a.table()) != 2 {
		t.Fatalf("release of what is live: %v, mounts %+v", err, r.a.table())
	}
	r.a.mustBe(t, v, telemetry.MountHealthy, "", false)
	r.a.nvme.SetState(name, "connecting")
	ask()
	if c := r.a.condition(t, v); !c.Release {
		t.Fatalf("condition %+v", c)
	}
	r.a.mayRevoke(v.nqn())
	if err := r.a.heal(t, v); err != nil {
		t.Fatal(err)
	}
	r.a.mustBeClean(t)
}

func TestAReleaseIsForOneNQNOnly(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	if err := r.a.config().Records.AskRelease(stage.Release{VolumeID: v.VolumeId, NQN: v.nqn() + "0", AskedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	r.a.nvme.SetState(r.a.controllerOf(v.nqn()), "connecting")
	if c := r.a.condition(t, v); c.Heal || c.Release {
		t.Errorf("condition %+v", c)
	}
}

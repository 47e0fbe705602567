package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/driver"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

func TestAnOutageThatTheKernelMendsIsMeasuredAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLoop(t)
		defer l.stop()
		l.volumes.set("v", healthy)
		after(nodeInterval)
		l.volumes.set("v", away)
		after(20 * time.Second)
		l.want(t, "rds_csi.mounts", "state", "unknown", 1)
		l.volumes.set("v", healthy)
		after(nodeInterval)
		l.want(t, "rds_csi.nvme.reconnects", "status", "recovered", 1)
		l.want(t, "rds_csi.nvme.reconnects", "status", "lost", 0)
		l.want(t, "rds_csi.nvme.outage.duration", "status", "recovered", 20)
		l.want(t, "rds_csi.mounts", "state", "healthy", 1)
		if l.volumes.triesOf("v") != 0 {
			t.Errorf("%d tries to heal", l.volumes.triesOf("v"))
		}
	})
}

func TestALostControllerIsHealedAndCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLoop(t)
		defer l.stop()
		l.volumes.heal = func(_ context.Context, id string) error {
			if l.volumes.triesOf(id) < 4 {
				return fault.Errorf("connect", fault.NVMeDenied, "the array is booting")
			}
			l.volumes.set(id, healthy)
			return nil
		}
		l.volumes.set("v", healthy)
		after(nodeInterval)
		l.volumes.set("v", gone)
		after(nodeInterval)
		l.want(t, "rds_csi.mounts", "state", "stale", 1)
		after(30 * time.Second)
		l.want(t, "rds_csi.nvme.reconnects", "status", "lost", 1)
		l.want(t, "rds_csi.mounts", "state", "healthy", 1)
		l.want(t, "rds_csi.mounts", "state", "stale", 0)
		if l.volumes.triesOf("v") != 4 {
			t.Errorf("%d tries", l.volumes.triesOf("v"))
		}
		if n := l.logs.FilterMessageSnippet("could not be healed").Len(); n != 1 {
			t.Errorf("the same failure is logged %d times", n)
		}
	})
}

// An array that comes back is noticed within lastHealPause and a look.
func TestTriesBackOffButNotFar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLoop(t)
		defer l.stop()
		l.volumes.heal = func(context.Context, string) error { return errors.New("no") }
		l.volumes.set("v", gone)
		after(time.Minute)
		l.volumes.mu.Lock()
		tries := slices.Clone(l.volumes.tries["v"])
		l.volumes.mu.Unlock()
		if len(tries) < 8 || len(tries) > 20 {
			t.Fatalf("%d tries in a minute", len(tries))
		}
		for i, at := range tries[1:] {
			if pause := at.Sub(tries[i]); pause > lastHealPause+nodeInterval {
				t.Errorf("a pause of %s", pause)
			}
		}
	})
}

func TestOneTryAtATimeForAVolumeAndFewAltogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLoop(t)
		release := make(chan struct{})
		l.volumes.heal = func(ctx context.Context, _ string) error {
			select {
			case <-release:
			case <-ctx.Done():
			}
			return ctx.Err()
		}
		for _, id := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"} {
			l.volumes.set(id, gone)
		}
		after(10 * nodeInterval)
		total := 0
		for id := range l.volumes.state {
			total += l.volumes.triesOf(id)
		}
		if total != healsAtOnce {
			t.Errorf("%d tries under way, want %d", total, healsAtOnce)
		}
		l.stop() // ends with its tries, although none of them has come back by itself
		close(release)
	})
}

func TestEventsBringALookForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLoop(t)
		defer l.stop()
		after(time.Millisecond) // the first look
		l.volumes.set("v", gone)
		looked := l.Check().At
		for range 10 { // a storm of events is one look, when it is over
			select {
			case l.wake <- struct{}{}:
			default: // as with uevents: one that waits stands for all
			}
			after(10 * time.Millisecond)
		}
		if again := l.Check().At; again != looked {
			t.Errorf("looked again after %s", again.Sub(looked))
		}
		after(eventDelay)
		if l.volumes.triesOf("v") != 1 {
			t.Error("the events did not bring a look")
		}
	})
}

func TestWhatCannotBeLookedAtIsAbsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLoop(t)
		defer l.stop()
		l.volumes.set("v", healthy)
		after(nodeInterval)
		before, _ := l.value(t, "rds_csi.mount.check.time", "", "")
		l.volumes.mu.Lock()
		l.volumes.err = errors.New("a record cannot be read")
		l.volumes.mu.Unlock()
		after(3 * nodeInterval)
		if _, found := l.value(t, "rds_csi.mounts", "state", "healthy"); found {
			t.Error("the gauge is there")
		}
		if now, _ := l.value(t, "rds_csi.mount.check.time", "", ""); now != before {
			t.Errorf("the time of the last look went on from %v to %v", before, now)
		}
		if n := l.logs.FilterMessageSnippet("not all staged volumes can be looked at").Len(); n != 1 {
			t.Errorf("logged %d times", n)
		}
	})
}

// What a loop that hangs has seen last says nothing of now.
func TestALookThatIsTooOldIsAbsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLoop(t)
		defer l.stop()
		l.volumes.set("v", healthy)
		after(nodeInterval)
		checked, _ := l.value(t, "rds_csi.mount.check.time", "", "")
		hung := make(chan struct{})
		l.volumes.hang(hung)
		after(staleAfter - nodeInterval)
		l.want(t, "rds_csi.mounts", "state", "healthy", 1)
		after(2*nodeInterval + time.Second)
		if _, found := l.value(t, "rds_csi.mounts", "state", "healthy"); found {
			t.Error("the gauge is there")
		}
		if now, found := l.value(t, "rds_csi.mount.check.time", "", ""); !found || now < checked || now > checked+nodeInterval.Seconds() {
			t.Errorf("the time of the last look is %v, %v; it was %v", now, found, checked)
		}
		l.volumes.hang(nil)
		close(hung)
		after(nodeInterval)
		l.want(t, "rds_csi.mounts", "state", "healthy", 1)
	})
}

func TestADeadCopyCountsAsStaleAndIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLoop(t)
		defer l.stop()
		held := healthy
		held.HeldBy = []string{"nvme0n1"}
		l.volumes.set("v", held)
		after(nodeInterval) // the kernel may not be done with it yet
		l.want(t, "rds_csi.mounts", "state", "healthy", 1)
		after(copyGrace + 2*nodeInterval)
		l.want(t, "rds_csi.mounts", "state", "stale", 1)
		if n := l.logs.FilterMessageSnippet("restart the pods").Len(); n != 1 || l.volumes.triesOf("v") != 0 {
			t.Errorf("logged %d times, %d tries", n, l.volumes.triesOf("v"))
		}
		l.volumes.set("v", healthy)
		after(nodeInterval)
		l.want(t, "rds_csi.mounts", "state", "healthy", 1)
	})
}

// What a volume is while a call works on it means nothing: a controller that is just being made is no
// outage.
func TestAVolumeThatACallWorksOnIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLoop(t)
		defer l.stop()
		l.volumes.set("v", healthy)
		after(nodeInterval)
		l.volumes.set("v", driver.Condition{Busy: true})
		after(5 * nodeInterval)
		l.want(t, "rds_csi.mounts", "state", "healthy", 1)
		l.volumes.set("v", healthy)
		after(nodeInterval)
		l.want(t, "rds_csi.nvme.reconnects", "status", "recovered", 0)
		if l.volumes.triesOf("v") != 0 {
			t.Errorf("%d tries", l.volumes.triesOf("v"))
		}
	})
}

// One record that cannot be read keeps no other volume from being healed.
func TestWhatCanBeReadIsHealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLoop(t)
		defer l.stop()
		l.volumes.mu.Lock()
		l.volumes.err = errors.New("a record cannot be read")
		l.volumes.mu.Unlock()
		l.volumes.set("v", gone)
		after(nodeInterval)
		if l.volumes.triesOf("v") == 0 {
			t.Error("it is not healed")
		}
	})
}

func TestWhatHangsOnAVolumeToReleaseIsUnblocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLoop(t)
		defer l.stop()
		l.volumes.set("v", driver.Condition{Busy: true, Release: true})
		after(nodeInterval)
		l.volumes.mu.Lock()
		defer l.volumes.mu.Unlock()
		if !slices.Equal(slices.Compact(l.volumes.unblocked), []string{"v"}) {
			t.Errorf("unblocked %q", l.volumes.unblocked)
		}
	})
}

// Each asks the API server, whose patience with this node has an end, too. Recoveries that hang keep none from it.
func TestUnblockingsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLoop(t)
		defer l.stop()
		l.volumes.mu.Lock()
		l.volumes.unblockHangs = true
		l.volumes.heal = func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
		l.volumes.mu.Unlock()
		for i := range 2 * healsAtOnce {
			l.volumes.set(fmt.Sprint("stale ", i), gone)
		}
		after(2 * nodeInterval)
		for i := range 2 * healsAtOnce {
			l.volumes.set(fmt.Sprint("busy ", i), driver.Condition{Busy: true, Revoked: true})
		}
		after(5 * nodeInterval)
		l.volumes.mu.Lock()
		n := len(l.volumes.unblocked)
		l.volumes.mu.Unlock()
		if n != healsAtOnce {
			t.Errorf("%d at once, want %d", n, healsAtOnce)
		}
	})
}

// Those that cannot be ended leave others their turn.
func TestEachUnblockingHasItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLoop(t)
		defer l.stop()
		for i := range 3 * healsAtOnce {
			l.volumes.set(fmt.Sprintf("busy %02d", i), driver.Condition{Busy: true, Revoked: true})
		}
		after(5 * nodeInterval)
		l.volumes.mu.Lock()
		defer l.volumes.mu.Unlock()
		slices.Sort(l.volumes.unblocked)
		if n := len(slices.Compact(l.volumes.unblocked)); n != 3*healsAtOnce {
			t.Errorf("%d of %d were unblocked", n, 3*healsAtOnce)
		}
	})
}

func TestAMissingPathIsAskedForNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLoop(t)
		defer l.stop()
		onePath := healthy
		onePath.Missing = 1
		l.volumes.set("v", onePath)
		after(3*pathsInterval - nodeInterval)
		if n := l.volumes.triesOf("v"); n != 3 {
			t.Errorf("%d tries in three minutes", n)
		}
		l.want(t, "rds_csi.mounts", "state", "healthy", 1)
	})
}

func TestAVolumeThatWasUnstagedIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLoop(t)
		defer l.stop()
		l.volumes.set("v", away)
		after(nodeInterval)
		l.volumes.mu.Lock()
		delete(l.volumes.state, "v")
		l.volumes.mu.Unlock()
		after(nodeInterval)
		l.volumes.set("v", healthy)
		after(nodeInterval)
		l.want(t, "rds_csi.nvme.reconnects", "status", "recovered", 0)
	})
}

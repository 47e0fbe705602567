package reconcile

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/driver"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// Volumes that cannot be healed (fenced, another portal down) keep all slots from those that can.
func TestStarvation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLoop(t)
		defer l.stop()
		l.volumes.heal = func(ctx context.Context, id string) error {
			if id == "z" {
				l.volumes.set("z", healthy)
				return nil
			}
			time.Sleep(4 * time.Second) // nvme.predialTimeout: a black hole
			return fault.Errorf("", fault.NVMeDenied, "no answer")
		}
		for i := range 40 {
			l.volumes.set(fmt.Sprintf("a%02d", i), gone)
		}
		l.volumes.set("z", gone)
		after(10 * time.Minute)
		never := 0
		for i := range 40 {
			if l.volumes.triesOf(fmt.Sprintf("a%02d", i)) == 0 {
				never++
			}
		}
		if never > 0 || l.volumes.triesOf("z") == 0 {
			t.Errorf("in ten minutes %d of 40 were never tried, and the one that could be healed %d times", never, l.volumes.triesOf("z"))
		}
	})
}

// Further paths through a portal that is a black hole (predial 4 s) take the slots from real heals.
func TestMissingPathsStarveHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLoop(t)
		defer l.stop()
		l.volumes.heal = func(ctx context.Context, id string) error {
			if id != "z" {
				time.Sleep(4 * time.Second)
			}
			return nil
		}
		missing := healthy
		missing.Missing = 1
		for i := range 100 {
			l.volumes.set(fmt.Sprintf("a%02d", i), missing)
		}
		after(90 * time.Second)
		l.volumes.set("z", gone)
		began := time.Now()
		for l.volumes.triesOf("z") == 0 && time.Since(began) < 5*time.Minute {
			after(time.Second)
		}
		t.Logf("first try after %s", time.Since(began))
		if time.Since(began) > 15*time.Second {
			t.Error("late")
		}
	})
}

// A file system that fsck cannot repair: the release of the volume waits for that pause.
func TestReleaseAfterCorrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLoop(t)
		defer l.stop()
		l.volumes.heal = func(context.Context, string) error { return fault.Errorf("", fault.FSCorrupt, "fsck") }
		l.volumes.set("v", gone)
		after(3 * time.Second)
		tries := l.volumes.triesOf("v")
		c := away
		c.Release = true
		l.volumes.set("v", c)
		after(time.Minute) // the command's time-out
		if l.volumes.triesOf("v") == tries {
			t.Error("the operator's release is not even looked at")
		}
	})
}

var _ = driver.Condition{}

// More than eight volumes miss a path: the ninth is never asked for.
func TestPathsOfTheNinth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLoop(t)
		defer l.stop()
		l.volumes.heal = func(ctx context.Context, id string) error {
			time.Sleep(200 * time.Millisecond)
			return nil
		}
		missing := healthy
		missing.Missing = 1
		for i := range 12 {
			l.volumes.set(fmt.Sprintf("a%02d", i), missing)
		}
		after(30 * time.Minute)
		for i := range 12 {
			if n := l.volumes.triesOf(fmt.Sprintf("a%02d", i)); n == 0 {
				t.Errorf("a%02d: never in 30 minutes (a00: %d)", i, l.volumes.triesOf("a00"))
			}
		}
	})
}

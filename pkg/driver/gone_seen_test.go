package driver

import (
	"testing"
	"testing/synctest"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
)

func TestAnAttachmentIsGoneOnceEveryAnswerOfTheGraceSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, r := newGoneSeen(0), &stage.Record{NQN: "nqn"}
		after := func(d time.Duration, want bool) {
			t.Helper()
			time.Sleep(d) // the clock of the bubble
			if got := g.has(r); got != want {
				t.Fatalf("gone %t, want %t", got, want)
			}
		}
		after(time.Hour, false)
		g.answered(r, true)
		after(DefaultDetachedGrace-1, false)
		g.answered(r, true) // one more is no new beginning
		after(1, true)
		g.answered(r, false)
		after(0, false)
		g.answered(r, true)
		after(DefaultDetachedGrace/2, false)
		g.answered(r, false)
		g.answered(r, true)
		after(DefaultDetachedGrace-1, false)
		g.keep([]*stage.Record{r})
		after(1, true)
		g.keep(nil)
		after(time.Hour, false)
	})
}

// What Kubernetes says for a moment only drops nothing.
func TestUntilTheGraceIsOverNothingIsReleased(t *testing.T) {
	r, c, v := attachedSeen(t, "ext4")
	r.a.grace = time.Hour
	r.a.boot()
	r.a.nvme.SetState(r.a.controllerOf(v.nqn()), "connecting")
	c.detach(v)
	longAgo := func() {
		g := r.a.driver.node.gone
		g.since[v.nqn()] = g.since[v.nqn()].Add(-2 * time.Hour)
	}
	refused := func(what string) {
		t.Helper()
		c.mustAsk()
		if r.a.condition(t, v).Revoked {
			t.Errorf("%s: it is taken for revoked", what)
		}
		untouched(t, r, v)
	}
	refused("at first")
	longAgo()
	c.attach(v) // seen there once
	refused("attached again")
	c.detach(v)
	refused("gone again")
	longAgo()
	r.a.nvme.SetState(r.a.controllerOf(v.nqn()), "live") // well once
	refused("connected")
	r.a.nvme.SetState(r.a.controllerOf(v.nqn()), "connecting")
	refused("lost again")
	longAgo()
	cutOff(t, r, v)
	c.mustAsk()
	if !r.a.condition(t, v).Revoked {
		t.Fatal("it is never taken for revoked")
	}
	r.a.mayRevoke(v.nqn())
	if err := r.a.heal(t, v); err != nil {
		t.Fatal(err)
	}
	r.a.mustBeClean(t)
}

package reconcile

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/driver"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

func TestTheNodeIsToldOnceThatItWaitsForTheArray(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLoop(t)
		defer l.stop()
		for _, id := range []string{"a", "b", "c"} {
			l.volumes.set(id, healthy)
		}
		after(nodeInterval)
		l.volumes.set("a", away) // a hiccup
		after(waitingGrace / 2)
		l.volumes.set("a", healthy)
		after(time.Minute)
		if len(l.told.reasons) != 0 {
			t.Fatalf("told of a hiccup: %q", l.told.messages)
		}
		l.volumes.set("a", away)
		l.volumes.set("b", away)
		after(time.Hour)
		l.volumes.set("a", healthy)
		after(time.Minute) // one still waits
		if !slices.Equal(l.told.reasons, []telemetry.EventReason{telemetry.EventArrayUnreachable}) || !strings.Contains(l.told.messages[0], "2 of 3") {
			t.Fatalf("told %q", l.told.messages)
		}
		l.volumes.set("b", healthy)
		after(nodeInterval)
		if !slices.Equal(l.told.reasons, []telemetry.EventReason{telemetry.EventArrayUnreachable, telemetry.EventArrayReachable}) {
			t.Errorf("told %q", l.told.messages)
		}
	})
}

// What was given up is not back.
func TestAnOutageThatEndsInALossIsNoReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLoop(t)
		defer l.stop()
		l.volumes.set("a", away)
		after(time.Minute)
		l.volumes.set("a", gone)
		after(time.Minute)
		if !slices.Equal(l.told.reasons, []telemetry.EventReason{telemetry.EventArrayUnreachable}) {
			t.Errorf("told %q", l.told.messages)
		}
	})
}

// The kernel gives up a controller, and the volume is healed later.
func TestAReturnAfterALossIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLoop(t)
		defer l.stop()
		for _, c := range []driver.Condition{healthy, away, gone, healthy} {
			l.volumes.set("a", c)
			after(time.Minute)
		}
		if !slices.Equal(l.told.reasons, []telemetry.EventReason{telemetry.EventArrayUnreachable, telemetry.EventArrayReachable}) {
			t.Errorf("told %q", l.told.reasons)
		}
	})
}

// With its last volume a node's wait is over, and that of another is told anew.
func TestAWaitEndsWithTheLastVolume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLoop(t)
		defer l.stop()
		for _, id := range []string{"a", "b"} {
			l.volumes.set(id, away)
			after(time.Minute)
			l.volumes.mu.Lock()
			delete(l.volumes.state, id)
			l.volumes.mu.Unlock()
			after(time.Minute)
		}
		if !slices.Equal(l.told.reasons, []telemetry.EventReason{telemetry.EventArrayUnreachable, telemetry.EventArrayUnreachable}) {
			t.Errorf("told %q", l.told.reasons)
		}
	})
}

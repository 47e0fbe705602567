package reconcile

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

func TestManyOrphansAreNamedAFewAtATimeAndEachOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slots []string
		for i := range 25 {
			slots = append(slots, fmt.Sprintf("v%02d", i))
		}
		w := beginWorld(t, slots)
		defer w.stop()
		var said []int
		for range 20 {
			after(time.Minute)
			if n := w.warnings(named); len(said) == 0 || said[len(said)-1] != n {
				said = append(said, n)
			}
		}
		if !slices.Equal(said, []int{0, 10, 20, 25}) {
			t.Errorf("named %v", said)
		}
		w.counts(t, "in the end", 25)
		seen := map[any]bool{}
		for _, line := range w.logs.FilterMessageSnippet(named).All() {
			seen[line.ContextMap()["volume_id"]] = true
		}
		if len(seen) != 25 {
			t.Errorf("%d volumes were named", len(seen))
		}
	})
}

// A volume of the figure that goes on can be found in the log of the last day, however old it is.
func TestOrphansThatRemainAreNamedOnceADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names []string
		for i := range 25 {
			names = append(names, fmt.Sprint("v", i))
		}
		w := beginWorld(t, names)
		defer w.stop()
		after(nameAgain)
		for day := range 5 {
			if n := w.warnings(named); n != (day+1)*len(names) {
				t.Errorf("day %d: named %d times", day, n)
			}
			after(DefaultOrphanGrace + 4*untilListed)
			before := w.logs.Len()
			after(nameAgain - DefaultOrphanGrace - 4*untilListed)
			if n := w.logs.Len(); n != before {
				t.Errorf("day %d: %d lines after all were named", day, n-before)
			}
		}
	})
}

func TestThoseThatWereNeverNamedComeFirst(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	now := time.Now()
	var found []*suspect
	for i := range 3 * namedOrphans {
		found = append(found, &suspect{volume: rds.Volume{Slot: fmt.Sprintf("old-%02d", i)}, named: now.Add(-nameAgain)})
	}
	found = append(found, &suspect{volume: rds.Volume{Slot: "the-new-one"}}, &suspect{volume: rds.Volume{Slot: "told"}, named: now.Add(time.Second - nameAgain)})
	l := orphanLog{to: zap.New(core), array: "rds"}
	l.name(now, found)
	if all := logs.All(); len(all) != namedOrphans || all[0].ContextMap()["volume_id"] != "rds/the-new-one" {
		t.Errorf("%d lines: %v", len(all), all)
	}
	l.name(now, found)
	l.name(now, found)
	l.name(now, found)
	l.name(now, found)
	if n := logs.Len(); n != 3*namedOrphans+1 {
		t.Errorf("%d lines in the end", n)
	}
}

// Else somebody who reads what was named gives a volume a second PersistentVolume, and deletes it with that.
func TestTheEndOfAnOrphanIsSaidIfItWasNamed(t *testing.T) {
	const again, gone = "has a PersistentVolume again", "is gone from the array"
	for name, tt := range map[string]struct {
		wait        time.Duration
		change      func(w *world)
		again, gone int
	}{
		"it has one again":         {2 * DefaultOrphanGrace, func(w *world) { w.handles["rds/a"] = true }, 1, 0},
		"it is gone":               {2 * DefaultOrphanGrace, func(w *world) { w.array = []string{"b"} }, 0, 1},
		"one that was not named":   {DefaultOrphanGrace / 2, func(w *world) { w.handles["rds/a"] = true }, 0, 0},
		"one that never was named": {DefaultOrphanGrace / 2, func(w *world) { w.array = []string{"b"} }, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := beginWorld(t, []string{"a", "b"}, "rds/b")
				defer w.stop()
				after(tt.wait)
				w.set(func() { tt.change(w) })
				after(time.Hour)
				if a, g := w.logs.FilterMessageSnippet(again), w.logs.FilterMessageSnippet(gone); a.Len() != tt.again || g.Len() != tt.gone {
					t.Errorf("said %d times that it has one again, %d times that it is gone", a.Len(), g.Len())
				}
				for _, line := range append(w.logs.FilterMessageSnippet(again).All(), w.logs.FilterMessageSnippet(gone).All()...) {
					if id := line.ContextMap()["volume_id"]; id != "rds/"+slotOf("a") {
						t.Errorf("said of %v", id)
					}
				}
			})
		})
	}
}

func TestAnAPIServerThatChangesToAndFroDoesNotFillTheLog(t *testing.T) {
	away, broken, another := fault.Errorf("", fault.Unavailable, "away"), fault.Errorf("", fault.Internal, "broken"), fault.Errorf("", fault.Precondition, "another cluster")
	for name, tt := range map[string]struct {
		answers []error // in turn, one minute each
		most    int     // lines in 2 hours
		least   int
	}{
		"always away":              {[]error{away}, 1, 1},
		"away, and broken":         {[]error{away, broken}, 1, 1},
		"well, and away":           {[]error{away, nil}, 12, 2},
		"well, and away for long":  {[]error{away, away, away, broken, nil, nil, nil, nil}, 12, 10},
		"another cluster's for 20": {append(slices.Repeat([]error{another}, 20), slices.Repeat([]error{away}, 100)...), 2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := beginWithGrace(t, time.Minute, []string{"a"}, "rds/a")
				defer w.stop()
				for i := range 120 {
					w.set(func() { w.err = tt.answers[i%len(tt.answers)] })
					after(time.Minute)
				}
				lines := w.logs.All()
				if len(lines) < tt.least || len(lines) > tt.most {
					t.Errorf("%d lines, want %d to %d", len(lines), tt.least, tt.most)
				}
				for i := 1; i < len(lines); i++ {
					if pause := lines[i].Time.Sub(lines[i-1].Time); pause < listsSaid || lines[i].Message == lines[i-1].Message && lines[i].Level == zap.InfoLevel {
						t.Errorf("line %d after %s: %s", i, pause, lines[i].Message)
					}
				}
			})
		})
	}
}

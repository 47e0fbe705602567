package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// world is an array that is looked at as Backend does, and an API server.
type world struct {
	*Orphans
	logs *observer.ObservedLogs
	stop func()

	mu      sync.Mutex
	array   []string        // the names that its volumes were made under
	items   []rds.Volume    // what else there is with the cluster's mark
	away    bool            // the array
	handles map[string]bool // in PersistentVolumes, with those names instead of slots
	err     error           // of the API server
	hangs   bool            // the API server
	onList  func()          // what happens between a look at the array and the list
	lists   int
}

func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *world) Handles(ctx context.Context) (map[string]bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lists++
	if w.hangs {
		w.mu.Unlock()
		<-ctx.Done()
		w.mu.Lock()
		return nil, fault.E("list", fault.Unavailable, ctx.Err())
	}
	if w.onList != nil {
		w.onList()
	}
	all := map[string]bool{}
	for handle := range w.handles {
		array, name, _ := strings.Cut(handle, "/")
		all[array+"/"+slotOf(name)] = true
	}
	return all, w.err
}

func (w *world) looked() (volumes []rds.Volume, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range w.array {
		volumes = append(volumes, rds.Volume{Slot: slotOf(name), Size: 4096, Record: rds.Record{Cluster: "c", PVC: "default/of-" + name, PV: "pv-" + name}})
	}
	return append(volumes, w.items...), !w.away
}

func slotOf(name string) string { return rds.Slot("c", name) }

// beginWorld starts with volumes on the array and with handles, and the default grace. It has looked once.
func beginWorld(t *testing.T, array []string, handles ...string) *world {
	t.Helper()
	return beginWithGrace(t, DefaultOrphanGrace, array, handles...)
}

func beginWithGrace(t *testing.T, grace time.Duration, array []string, handles ...string) *world {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	w := &world{logs: logs, array: array, handles: map[string]bool{}}
	for _, handle := range handles {
		w.handles[handle] = true
	}
	w.Orphans = NewOrphans(OrphansConfig{
		Handles: w, Array: "rds", Grace: grace, Tracer: telemetry.NewTracer(noop.NewTracerProvider()), Log: zap.New(core),
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { w.Run(ctx) })
	running.Go(func() {
		for ctx.Err() == nil {
			if volumes, ok := w.looked(); ok {
				w.Compare(volumes)
			}
			select {
			case <-ctx.Done():
			case <-time.After(lookInterval):
			}
		}
	})
	w.stop = func() { cancel(); running.Wait() }
	synctest.Wait()
	return w
}

// counts wants so many orphans, or that it is not known.
func (w *world) counts(t *testing.T, when string, want int64) {
	t.Helper()
	switch got := w.Count(); {
	case want == unknown && got != nil:
		t.Errorf("%s: %d orphans, want that it is not known", when, *got)
	case want != unknown && got == nil:
		t.Errorf("%s: orphans are not known, want %d", when, want)
	case want != unknown && *got != want:
		t.Errorf("%s: %d orphans, want %d", when, *got, want)
	}
}

func (w *world) warnings(text string) int {
	return w.logs.FilterLevelExact(zap.WarnLevel).FilterMessageSnippet(text).Len()
}

const (
	unknown = -1
	// untilListed is the longest time from one list to the next.
	untilListed = DefaultOrphanGrace/looksInGrace + lookInterval
	named       = "has no PersistentVolume"
	untold      = "does not tell which volumes"
)

func TestAVolumeThatLosesItsPersistentVolumeIsAnOrphan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := beginWorld(t, []string{"a", "b"}, "rds/a", "rds/b")
		defer w.stop()
		w.counts(t, "at first", 0)
		w.set(func() { delete(w.handles, "rds/b") })
		after(DefaultOrphanGrace - time.Second)
		w.counts(t, "within the grace", 0)
		after(2 * untilListed)
		w.counts(t, "after it", 1)
		after(5 * time.Hour)
		w.counts(t, "hours later", 1)
		if n := w.warnings(named); n != 1 {
			t.Errorf("named %d times", n)
		}
		line := fmt.Sprint(w.logs.FilterMessageSnippet(named).All()[0].ContextMap())
		for _, want := range []string{"volume_id:rds/" + slotOf("b"), "made_for_pvc:default/of-b", "made_for_pv:pv-b"} {
			if !strings.Contains(line, want) {
				t.Errorf("the log does not say %s: %s", want, line)
			}
		}
		w.set(func() { w.handles["rds/b"] = true })
		after(untilListed)
		w.counts(t, "when it has one again", 0)
	})
}

// Of what was there before the first look nobody knows since when.
func TestAfterAStartOrphansAreNotKnownUntilTheyAreProven(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(w *world)
		want   int64
	}{
		"an orphan":                {func(*world) {}, 1},
		"a new one, which gets it": {func(w *world) { w.handles["rds/a"] = true }, 0},
		"one that is deleted":      {func(w *world) { w.array = nil }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := beginWorld(t, []string{"a"})
				defer w.stop()
				for range 4 {
					w.counts(t, "at first", unknown)
					after(DefaultOrphanGrace / looksInGrace)
				}
				w.set(func() { tt.change(w) })
				after(2 * untilListed)
				w.counts(t, "in the end", tt.want)
			})
		})
	}
}

func TestWhatCannotBeListedLeavesNoCount(t *testing.T) {
	for name, tt := range map[string]struct {
		fail, mend func(w *world)
		after      time.Duration // it is not known any more
		said       int
	}{
		"the API server fails": {func(w *world) { w.err = errors.New("no") }, func(w *world) { w.err = nil }, untilListed, 1},
		"the API server hangs": {func(w *world) { w.hangs = true }, func(w *world) { w.hangs = false }, untilListed + handlesTimeout, 1},
		"the array is away":    {func(w *world) { w.away = true }, func(w *world) { w.away = false }, untilListed + lookTimeout + handlesTimeout + time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := beginWorld(t, []string{"a", "b"}, "rds/a", "rds/b")
				defer w.stop()
				w.set(func() { delete(w.handles, "rds/b") })
				after(2 * DefaultOrphanGrace)
				w.counts(t, "before", 1)
				w.set(func() { tt.fail(w) })
				after(tt.after)
				for range 30 {
					w.counts(t, "meanwhile", unknown)
					after(time.Minute)
				}
				w.set(func() { tt.mend(w) })
				after(handlesTimeout + 2*lookInterval)
				w.counts(t, "afterwards", 1)
				if n := w.warnings(untold); n != tt.said {
					t.Errorf("%d warnings, want %d", n, tt.said)
				}
				if n := w.logs.FilterMessageSnippet("tells again").Len(); n != tt.said {
					t.Errorf("the end is said %d times, want %d", n, tt.said)
				}
				if n := w.warnings(named); n != 1 {
					t.Errorf("named %d times", n)
				}
			})
		})
	}
}

// While the API server is away nobody can make a PersistentVolume: that time is no volume's fault.
func TestAVolumeMadeWhileTheAPIServerWasAwayHasItsGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := beginWorld(t, []string{"a"}, "rds/a")
		defer w.stop()
		w.set(func() { w.array = append(w.array, "new") })
		after(untilListed)
		w.set(func() { w.err = errors.New("away") })
		after(time.Hour)
		w.set(func() { w.err = nil })
		after(DefaultOrphanGrace / 2)
		w.counts(t, "after an hour", unknown)
		w.set(func() { w.handles["rds/new"] = true })
		after(untilListed)
		w.counts(t, "when it has one", 0)
		if n := w.warnings(named); n != 0 {
			t.Errorf("named %d times", n)
		}
	})
}

// Between the look at the array and the list volumes come and go, with their PersistentVolumes. None is an orphan.
func TestVolumesThatComeAndGoAreNoOrphans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := beginWorld(t, []string{"a"}, "rds/a")
		defer w.stop()
		n := 0
		w.set(func() {
			w.onList = func() { // the one of the last time goes, another comes
				n++
				w.array = []string{"a", fmt.Sprint("v", n)}
				w.handles = map[string]bool{"rds/a": true, fmt.Sprint("rds/v", n): true}
			}
		})
		for range 120 {
			w.counts(t, "at any time", 0)
			after(time.Minute)
		}
		if n < 20 {
			t.Errorf("only %d lists", n)
		}
		if n := w.warnings(named); n != 0 {
			t.Errorf("named %d times", n)
		}
	})
}

func TestALongGraceLeavesTheCountFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const grace = 24 * time.Hour
		w := beginWithGrace(t, grace, []string{"a", "b"}, "rds/a", "rds/b")
		defer w.stop()
		w.set(func() { delete(w.handles, "rds/b") })
		after(grace - time.Minute)
		w.counts(t, "within the grace", 0)
		after(2*mostBetweenLists + lookInterval)
		w.counts(t, "after it", 1)
		w.set(func() { w.handles["rds/b"] = true })
		after(mostBetweenLists + lookInterval)
		w.counts(t, "when it has one again", 0)
		w.set(func() { w.away = true })
		after(mostBetweenLists + 3*lookInterval)
		w.counts(t, "when the array was away for some minutes", unknown)
	})
}

func TestWithAShortGraceNewVolumesLeaveTheCountKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := beginWithGrace(t, time.Second, []string{"a"}, "rds/a")
		defer w.stop()
		for i := range 30 { // each has its PersistentVolume before the next look
			name := fmt.Sprint("v", i)
			w.set(func() { w.array = append(w.array, name) })
			after(lookInterval)
			w.counts(t, "with a new volume", 0)
			w.set(func() { w.handles["rds/"+name] = true })
		}
		w.set(func() { w.array = append(w.array, "orphan") })
		after(2 * lookInterval)
		w.counts(t, "with one that stays without", 1)
	})
}

// DeleteVolume refuses them, and of a snapshot no PersistentVolume can be made.
func TestWhatIsInNoSlotOfAVolumeIsNoOrphan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := beginWorld(t, []string{"a"}, "rds/a")
		defer w.stop()
		w.set(func() {
			for _, slot := range []string{"snp-0123456789abcdef0123456789ab", "renamed", slotOf("a") + "-copy"} {
				w.items = append(w.items, rds.Volume{Slot: slot, Record: rds.Record{Cluster: "c"}})
			}
		})
		after(time.Hour)
		w.counts(t, "an hour later", 0)
		if n := w.warnings(named); n != 0 {
			t.Errorf("named %d times", n)
		}
	})
}

func TestPersistentVolumesAreListedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := beginWorld(t, []string{"a"}, "rds/a")
		defer w.stop()
		after(time.Hour)
		w.set(func() {
			if w.lists < 20 || w.lists > 32 {
				t.Errorf("%d lists in an hour", w.lists)
			}
		})
	})
}

func TestByWhichHandleAVolumeIsNamed(t *testing.T) {
	const slot = "csi-0123456789abcdef0123456789ab"
	for handle, want := range map[string]bool{
		"rds/" + slot:             true,
		slot:                      true, // written by hand
		"the-former-name/" + slot: true,
		"rds/" + slot + "0":       false,
		"rds/csi-0123":            false,
		slot + "/x":               false,
		"":                        false,
	} {
		left := withoutHandle([]rds.Volume{{Slot: slot}}, map[string]bool{handle: true})
		if (len(left) == 0) != want {
			t.Errorf("%q: named %t, want %t", handle, len(left) == 0, want)
		}
	}
}

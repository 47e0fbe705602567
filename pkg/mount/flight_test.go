package mount

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestFlightsLeaveACallThatHangsAndLetOnlyOneFly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights
		gate, running, most := make(chan struct{}), 0, 0
		call := func() error {
			running++
			most = max(most, running)
			<-gate
			running--
			return nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for range 3 {
			err := f.do(ctx, "key", call)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("error = %v, want a deadline", err)
			}
		}
		if err := f.do(t.Context(), "other key", func() error { return nil }); err != nil {
			t.Errorf("another key waits too: %v", err)
		}
		later := make(chan error)
		go func() { later <- f.do(t.Context(), "key", call) }()
		synctest.Wait()
		if running != 1 {
			t.Errorf("%d calls run", running)
		}
		close(gate)
		if err := <-later; err != nil || most != 1 {
			t.Errorf("after the hang: %v, at most %d at once", err, most)
		}
	})
}

func TestFlightsStartNothingAfterTheContextEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var f flights
	err := f.do(ctx, "key", func() error { t.Error("it ran"); return nil })
	if !errors.Is(err, context.Canceled) || errors.Is(err, errHangs) {
		t.Errorf("error = %v", err)
	}
}

func TestFlightsGiveTheResult(t *testing.T) {
	var f flights
	want := errors.New("result")
	if err := f.do(t.Context(), "key", func() error { return want }); err != want {
		t.Errorf("error = %v", err)
	}
	if len(f.flying) != 0 {
		t.Errorf("%d calls still registered", len(f.flying))
	}
}

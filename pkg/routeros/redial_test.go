package routeros

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// dials is an array that is down until told otherwise. A dial takes a second.
type dials struct {
	mu       sync.Mutex
	attempts []int
	up       bool
}

func (d *dials) dial(ctx context.Context, attempt int) (*link, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.attempts = append(d.attempts, attempt)
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return nil, fault.E("dial", fault.SSHUnreachable, ctx.Err())
	}
	if !d.up {
		return nil, fault.E("dial", fault.SSHUnreachable, errors.New("connection refused"))
	}
	return &link{dead: make(chan struct{})}, nil
}

func newRedialer(d *dials) *redialer { return &redialer{dial: d.dial, tasks: &tasks{}} }

func TestBackoffGivesTheLastErrorAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &dials{}
		r := newRedialer(d)
		for want := 1; want <= 12; want++ {
			if _, err := r.get(t.Context()); fault.ReasonOf(err) != fault.SSHUnreachable {
				t.Fatalf("dial %d: %v", want, err)
			}
			start := time.Now()
			_, err := r.get(t.Context())
			if err == nil || !strings.Contains(err.Error(), "connection refused") || !strings.Contains(err.Error(), "next attempt in") {
				t.Fatalf("in the back-off: %v", err)
			}
			if fault.ReasonOf(err) != fault.SSHUnreachable || time.Since(start) != 0 || len(d.attempts) != want {
				t.Fatalf("reason %s after %s, %d dials", fault.ReasonOf(err), time.Since(start), len(d.attempts))
			}
			full := min(backoffMax, backoffFirst<<(want-1))
			if wait := time.Until(r.retryAt); wait > full || wait < full*4/5 {
				t.Fatalf("after %d failures the next dial is in %s, want about %s", want, wait, full)
			}
			time.Sleep(time.Until(r.retryAt))
		}
		r.tasks.wait()
	})
}

func TestGoodDialResetsTheBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &dials{}
		r := newRedialer(d)
		for range 5 {
			_, _ = r.get(t.Context())
			time.Sleep(time.Until(r.retryAt))
		}
		d.up = true
		l, err := r.get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if again, err := r.get(t.Context()); again != l || err != nil {
			t.Fatalf("the connection is not kept: %v", err)
		}
		close(l.dead)
		d.up = false
		if _, err := r.get(t.Context()); err == nil {
			t.Fatal("a dead connection was handed out")
		}
		if wait := time.Until(r.retryAt); wait > backoffFirst {
			t.Errorf("the next dial is in %s", wait)
		}
		if last := d.attempts[len(d.attempts)-1]; last != 1 {
			t.Errorf("attempt %d after a good dial", last)
		}
		r.tasks.wait()
	})
}

func TestManyCallersShareOneDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &dials{up: true}
		r := newRedialer(d)
		links := make(chan *link, 50)
		for range cap(links) {
			go func() {
				l, err := r.get(t.Context())
				if err != nil {
					t.Error(err)
				}
				links <- l
			}()
		}
		first := <-links
		for range cap(links) - 1 {
			if l := <-links; l != first {
				t.Fatal("two connections")
			}
		}
		if len(d.attempts) != 1 {
			t.Errorf("%d dials", len(d.attempts))
		}
	})
}

func TestDialOutlivesTheCallerWhoAskedForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &dials{up: true}
		r := newRedialer(d)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := r.get(ctx); fault.ReasonOf(err) != fault.SSHUnreachable {
			t.Errorf("past the deadline: %v", err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		if _, err := r.get(ctx); fault.KindOf(err) != fault.Canceled {
			t.Errorf("cancelled: %v", err)
		}
		if l, err := r.get(t.Context()); err != nil || l == nil || len(d.attempts) != 1 {
			t.Errorf("%d dials, %v", len(d.attempts), err)
		}
	})
}

func TestCloseEndsADial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRedialer(&dials{up: true})
		failed := make(chan error)
		go func() {
			_, err := r.get(t.Context())
			failed <- err
		}()
		synctest.Wait()
		start := time.Now()
		r.close()
		if err := <-failed; err == nil || time.Since(start) != 0 {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		if _, err := r.get(t.Context()); !errors.Is(err, errClosed) {
			t.Errorf("after close: %v", err)
		}
	})
}

package routeros

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// How long after a failed dial the next one may start. Firewalls in front of RouterOS count
// connections and block who makes many (facts/routeros.md §5).
const (
	backoffFirst = 500 * time.Millisecond
	backoffMax   = 30 * time.Second
)

var errClosed = errors.New("the connection to the array was closed by this process")

// redialer hands out one shared connection, and makes a new one when that is gone. All who
// wait share one dial; after a failed one everybody gets its error until the back-off is over.
type redialer struct {
	dial  func(ctx context.Context, attempt int) (*link, error)
	tasks *tasks

	mu       sync.Mutex
	current  *link
	pending  *pendingDial
	failures int // dials that failed since the last good one
	lastErr  error
	retryAt  time.Time
	closed   bool
}

type pendingDial struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when link and err are set
	link   *link
	err    error
}

// get gives the connection that is up, or waits for one until ctx ends. A dial once started
// goes on without the caller who asked for it: others may be waiting.
func (r *redialer) get(ctx context.Context) (*link, error) {
	l, dial, err := r.find(ctx)
	if dial == nil {
		return l, err
	}
	select {
	case <-dial.done:
		return dial.link, dial.err
	case <-ctx.Done():
		return nil, fault.E("wait for a connection to the array", classOfWait(ctx), ctx.Err())
	}
}

func classOfWait(ctx context.Context) fault.Class {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fault.Canceled
	}
	return fault.SSHUnreachable
}

func (r *redialer) find(ctx context.Context) (*link, *pendingDial, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch wait := time.Until(r.retryAt); {
	case r.closed:
		return nil, nil, fault.E("", fault.SSHUnreachable, errClosed)
	case r.current != nil && r.current.alive():
		return r.current, nil, nil
	case r.pending != nil:
		return nil, r.pending, nil
	case wait > 0:
		return nil, nil, fault.Wrap("", fmt.Errorf("%w (failures in a row: %d; next attempt in %s)", r.lastErr, r.failures, wait.Round(time.Millisecond)))
	default:
		return nil, r.begin(ctx), nil
	}
}

func (r *redialer) begin(ctx context.Context) *pendingDial {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p := &pendingDial{cancel: cancel, done: make(chan struct{})}
	r.pending = p
	attempt := r.failures + 1
	r.tasks.start(func() {
		defer cancel()
		l, err := r.dial(ctx, attempt)
		r.finish(p, l, err)
	})
	return p
}

func (r *redialer) finish(p *pendingDial, l *link, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending = nil
	switch {
	case err != nil:
		r.failures++
		r.lastErr, r.retryAt = err, time.Now().Add(backoff(r.failures))
	case r.closed:
		l.drop(errClosed)
		l, err = nil, fault.E("", fault.SSHUnreachable, errClosed)
	default:
		r.current, r.failures, r.lastErr, r.retryAt = l, 0, nil, time.Time{}
	}
	p.link, p.err = l, err
	close(p.done)
}

// backoff doubles from backoffFirst to backoffMax, less up to a fifth, so that several
// controllers do not dial in step.
func backoff(failures int) time.Duration {
	d := backoffMax
	if shift := failures - 1; shift < 10 {
		d = min(backoffMax, backoffFirst<<shift)
	}
	return d - rand.N(d/5)
}

// close ends the connection and refuses new ones.
func (r *redialer) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.tasks.stop()
	if r.pending != nil {
		r.pending.cancel()
	}
	if r.current != nil {
		r.current.drop(errClosed)
	}
}

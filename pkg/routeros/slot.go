package routeros

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// slots bound the execs in flight, first come first served.
type slots struct {
	free    *semaphore.Weighted
	metrics *telemetry.Metrics
	attrs   []telemetry.Attr
}

// slot is the right to have one exec in flight. It is free again when everyone who holds it
// has left: a caller may be gone before the array is done.
type slot struct {
	holders atomic.Int32
	free    func()
}

// take waits for a slot until ctx ends. Only a wait makes a span.
func (s *slots) take(ctx context.Context) (taken *slot, err error) {
	start := time.Now()
	if !s.free.TryAcquire(1) {
		spanCtx, span := telemetry.Start(ctx, "ssh.session.wait", telemetry.Internal, s.attrs...)
		err = s.free.Acquire(spanCtx, 1)
		span.End(err)
	}
	s.metrics.RecordSSHSessionWait(ctx, time.Since(start))
	if err != nil {
		return nil, err
	}
	taken = &slot{free: func() { s.free.Release(1) }}
	taken.hold()
	return taken, nil
}

func (s *slot) hold() { s.holders.Add(1) }

func (s *slot) leave() {
	if s.holders.Add(-1) == 0 {
		s.free()
	}
}

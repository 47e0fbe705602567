// Package reconcile has the loops that run beside the calls.
package reconcile

import (
	"context"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

const (
	lookInterval = 30 * time.Second
	lookTimeout  = 15 * time.Second
	firstRetry   = time.Second
)

// Backend watches whether the array can be used, so that metric, log and /readyz say so before a
// call fails. It is never asked whether a call may run: the call itself finds out.
type Backend struct {
	array  *rds.Array
	name   string
	tracer *telemetry.Tracer
	log    *zap.Logger
	seen   atomic.Pointer[verdict]
}

type verdict struct {
	up  bool
	why string
}

// NewBackend watches the array called name. Nothing happens before Run.
func NewBackend(array *rds.Array, name string, tracer *telemetry.Tracer, log *zap.Logger) *Backend {
	return &Backend{array: array, name: name, tracer: tracer, log: log.With(zap.String("array", name))}
}

// Run looks at the array until ctx ends: twice a minute while it can be used, ever less often
// up to that while it cannot.
func (b *Backend) Run(ctx context.Context) {
	wait := firstRetry
	for {
		b.look(ctx)
		if up, _ := b.Up(); up {
			wait = lookInterval
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if up, _ := b.Up(); up {
			wait = firstRetry
		} else {
			wait = min(2*wait, lookInterval)
		}
	}
}

func (b *Backend) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	ctx, span := b.tracer.StartRoot(ctx, "backend.refresh")
	found, err := b.array.Look(ctx)
	span.End(err)
	if ctx.Err() == context.Canceled {
		return
	}
	now := &verdict{up: err == nil}
	if err != nil {
		now.why = err.Error()
	}
	before := b.seen.Swap(now)
	switch {
	case err != nil && (before == nil || before.why != now.why):
		b.log.Error("the array cannot be used; calls that need it will fail until it can", zap.Error(err))
	case err == nil && (before == nil || !before.up):
		b.log.Info("the array can be used", zap.String("routeros", found.Version), zap.String("board", found.Board))
	}
}

// Up tells whether the array could be used when last looked at; known is false before the first look.
func (b *Backend) Up() (up, known bool) {
	v := b.seen.Load()
	return v != nil && v.up, v != nil
}

// Ready tells the same for /readyz, with the reason.
func (b *Backend) Ready() (ok bool, why string) {
	switch v := b.seen.Load(); {
	case v == nil:
		return false, "array " + b.name + ": not asked yet"
	case !v.up:
		return false, "array " + b.name + ": " + v.why
	default:
		return true, ""
	}
}

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

// Backend watches whether the array can be used and how full it is, so that metric, log and /readyz say so
// before a call fails. It is never asked whether a call may run: the call itself finds out.
type Backend struct {
	array  *rds.Array
	name   string
	tracer *telemetry.Tracer
	log    *zap.Logger
	events ArrayEvents
	// orphans is nil where there is no API server to compare with.
	orphans *Orphans
	seen    atomic.Pointer[verdict]
}

// ArrayEvents tells people what happened to the array. It returns at once and never fails. *kube.Events fits.
type ArrayEvents interface {
	Pod(reason telemetry.EventReason, message string)
}

// verdict is what a look gave.
type verdict struct {
	up      bool
	why     string // not up
	usage   *telemetry.BackendUsage
	unknown string    // why usage of an array that is up is not there, or not of all pools
	told    time.Time // when all of it was last told
}

// NewBackend watches the array called name. Nothing happens before Run.
func NewBackend(array *rds.Array, name string, tracer *telemetry.Tracer, log *zap.Logger) *Backend {
	return &Backend{array: array, name: name, tracer: tracer, log: log.With(zap.String("array", name))}
}

// Compare has the volumes of every look compared, from Run on.
func (b *Backend) Compare(orphans *Orphans) { b.orphans = orphans }

// Tell has changes told, from Run on.
func (b *Backend) Tell(events ArrayEvents) { b.events = events }

// Run looks at the array until ctx ends: twice a minute while it can be used, ever less often
// up to that while it cannot.
func (b *Backend) Run(ctx context.Context) {
	wait := firstRetry
	for {
		b.look(ctx)
		if b.up() {
			wait = lookInterval
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if b.up() {
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
	now := &verdict{up: err == nil}
	if err != nil {
		now.why = err.Error()
	} else {
		err = b.measure(ctx, now)
	}
	span.End(err)
	if ctx.Err() == context.Canceled {
		return
	}
	before := b.seen.Load()
	if before == nil {
		before = &verdict{why: notAsked}
	}
	if now.told.IsZero() {
		now.told = before.told
	}
	b.seen.Store(now)
	b.report(before, now, found)
	b.tell(before, now)
}

// notAsked is why an array cannot be used before it was asked.
const notAsked = "not asked yet"

// measure asks how full the array is. That it cannot tell, for a pool that is not there, makes no call fail
// that needs no room, and takes nothing from what is known of the others.
func (b *Backend) measure(ctx context.Context, now *verdict) error {
	f, err := b.array.Figures(ctx)
	if err != nil {
		now.unknown = err.Error()
	} else {
		now.told = time.Now()
	}
	if err != nil && len(f.Pools) == 0 {
		return err
	}
	now.usage = &telemetry.BackendUsage{Volumes: int64(len(f.Volumes))}
	if b.orphans != nil {
		b.orphans.Compare(f.Volumes)
	}
	for _, p := range f.Pools {
		now.usage.Pools = append(now.usage.Pools, telemetry.PoolUsage{
			Name: p.MountPoint, Capacity: int64(p.Size), Usage: int64(p.Size - min(p.Free, p.Size)), Provisioned: int64(p.Provisioned),
		})
	}
	return err
}

// report says what has changed.
func (b *Backend) report(before, now *verdict, found rds.Resource) {
	switch {
	case !now.up && before.why != now.why:
		b.log.Error("the array cannot be used; calls that need it will fail until it can", zap.String("error", now.why))
	case now.up && !before.up:
		b.log.Info("the array can be used", zap.String("routeros", found.Version), zap.String("board", found.Board))
	}
	if now.unknown != "" && before.unknown != now.unknown {
		b.log.Warn("the array does not tell how full it is; new volumes may fail", zap.String("error", now.unknown))
	}
}

// tell posts what has changed.
func (b *Backend) tell(before, now *verdict) {
	switch {
	case b.events == nil:
	case !now.up && before.why != now.why:
		b.events.Pod(telemetry.EventArrayUnreachable, "array "+b.name+" cannot be used; calls that need it will fail until it can: "+now.why)
	case now.up && !before.up && before.why != notAsked:
		b.events.Pod(telemetry.EventArrayReachable, "array "+b.name+" can be used")
	}
}

// Check is the latest look, for the gauges. It never blocks.
func (b *Backend) Check() telemetry.BackendCheck {
	v := b.seen.Load()
	if v == nil {
		return telemetry.BackendCheck{}
	}
	check := telemetry.BackendCheck{Known: true, Up: v.up, At: v.told, Full: v.usage}
	if b.orphans != nil {
		check.Orphans = b.orphans.Count()
	}
	return check
}

func (b *Backend) up() bool {
	v := b.seen.Load()
	return v != nil && v.up
}

// Ready tells the same for /readyz, with the reason.
func (b *Backend) Ready() (ok bool, why string) {
	switch v := b.seen.Load(); {
	case v == nil:
		return false, "array " + b.name + ": " + notAsked
	case !v.up:
		return false, "array " + b.name + ": " + v.why
	default:
		return true, ""
	}
}

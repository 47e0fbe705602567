package reconcile

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

const (
	// DefaultOrphanGrace is twice what external-provisioner pauses at most between two tries of a claim
	// (--retry-interval-max, 5 min): a volume of a try that was cut off has its PersistentVolume after the next.
	DefaultOrphanGrace = 10 * time.Minute
	// looksInGrace is how often PersistentVolumes are listed in the grace period, as far as there are looks at
	// the array: each list costs the API server all of them.
	looksInGrace = 5
	// mostBetweenLists keeps the count fresh where the grace period is long.
	mostBetweenLists = 5 * time.Minute
	// handlesTimeout bounds one list of all pages.
	handlesTimeout = 30 * time.Second
	// orphansAge is for how long a count counts beyond the time of the next list: an array that is looked at
	// no more, or an API server that hangs, leaves none.
	orphansAge = lookInterval + lookTimeout + handlesTimeout
)

// VolumeHandles are those of the cluster's PersistentVolumes, at a moment after the call. What may not be all of
// them, or not of this cluster, is an error. *kube.Volumes fits.
type VolumeHandles interface {
	Handles(ctx context.Context) (map[string]bool, error)
}

// OrphansConfig is what Orphans is made of.
type OrphansConfig struct {
	Handles VolumeHandles
	Array   string        // its name, for the log
	Grace   time.Duration // how long a volume may be without a PersistentVolume
	Tracer  *telemetry.Tracer
	Log     *zap.Logger
}

// Orphans counts the volumes of this cluster that the array has and no PersistentVolume names. It is a loop of
// its own, so that an API server that hangs delays no look at the array. Nothing is ever removed: a volume whose
// PersistentVolume somebody has deleted, with reclaim policy Retain, is kept on purpose.
type Orphans struct {
	cfg     OrphansConfig
	listed  chan listing
	counted atomic.Pointer[count] // nil: not known
	// of Run alone:
	seen unclaimed
	next time.Time // when PersistentVolumes are to be listed again
	log  orphanLog
}

// listing is what the array has of the cluster.
type listing struct {
	at      time.Time
	volumes []rds.Volume
}

// count is how many orphans there were.
type count struct {
	at time.Time
	n  int64
}

// NewOrphans makes the loop. Nothing happens before Run.
func NewOrphans(c OrphansConfig) *Orphans {
	return &Orphans{
		cfg: c, listed: make(chan listing, 1),
		seen: unclaimed{grace: c.Grace, most: lasts(c.Grace)},
		log:  orphanLog{to: c.Log, array: c.Array},
	}
}

// betweenLists is how long PersistentVolumes are not listed again.
func betweenLists(grace time.Duration) time.Duration {
	return min(grace/looksInGrace, mostBetweenLists)
}

// lasts is how long a count counts, and how far back a look can speak for.
func lasts(grace time.Duration) time.Duration { return betweenLists(grace) + orphansAge }

// Compare takes the volumes that the array has now. It never blocks; an earlier listing that nobody came to
// look at is replaced. One goroutine calls it.
func (o *Orphans) Compare(volumes []rds.Volume) {
	select {
	case <-o.listed:
	default:
	}
	o.listed <- listing{at: time.Now(), volumes: volumes}
}

// Run compares what the array has with what the API server has, until ctx ends. The array is always asked
// first: a volume made in between is in neither count, and one whose PersistentVolume goes in between, as the
// volume did, is gone with the next look.
func (o *Orphans) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case l := <-o.listed:
			if !l.at.Before(o.next) {
				o.look(ctx, l)
			}
		}
	}
}

func (o *Orphans) look(ctx context.Context, l listing) {
	handles, err := o.handles(ctx)
	if ctx.Err() != nil {
		return
	}
	o.log.listed(time.Now(), err)
	if err != nil {
		o.counted.Store(nil)
		return
	}
	o.next = l.at.Add(betweenLists(o.cfg.Grace))
	o.log.ended(o.seen.look(l.at, withoutHandle(l.volumes, handles)), l.volumes)
	found, known := o.seen.orphans()
	o.log.name(l.at, found)
	if !known {
		o.counted.Store(nil)
		return
	}
	o.counted.Store(&count{at: l.at, n: int64(len(found))})
}

// withoutHandle are the volumes that no handle names, by their slot alone: the array may have had another name,
// and hand-written PersistentVolumes name none. A slot is drawn from cluster and name, so none else has it. What
// bears the mark in a slot of another form is no volume that CreateVolume made: DeleteVolume would refuse it.
func withoutHandle(volumes []rds.Volume, handles map[string]bool) []rds.Volume {
	named := map[string]bool{}
	for handle := range handles {
		named[handle[strings.LastIndexByte(handle, '/')+1:]] = true
	}
	return slices.DeleteFunc(slices.Clone(volumes), func(v rds.Volume) bool { return named[v.Slot] || !rds.OwnSlot(v.Slot) })
}

func (o *Orphans) handles(ctx context.Context) (map[string]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, handlesTimeout)
	defer cancel()
	ctx, span := o.cfg.Tracer.StartRoot(ctx, "reconcile.array")
	handles, err := o.cfg.Handles.Handles(ctx)
	span.End(err)
	return handles, err
}

// Count is how many orphans there are; nil: that is not known. It never blocks.
func (o *Orphans) Count() *int64 {
	c := o.counted.Load()
	if c == nil || time.Since(c.at) > lasts(o.cfg.Grace) {
		return nil
	}
	return &c.n
}

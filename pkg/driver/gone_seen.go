package driver

import (
	"maps"
	"slices"
	"sync"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
)

// DefaultDetachedGrace is how long a VolumeAttachment has to be absent before its absence is acted on. An API
// server that was restored from a backup, or is not the one it should be, is found out by then.
const DefaultDetachedGrace = 2 * time.Minute

// goneSeen remembers what Kubernetes has said of attachments, by NQN, between two times it is asked.
type goneSeen struct {
	grace time.Duration
	mu    sync.Mutex
	since map[string]time.Time // since when every answer was that one is gone; by the monotonic clock
	asked map[string]time.Time // when one was last looked for and not found
}

func newGoneSeen(grace time.Duration) *goneSeen {
	if grace <= 0 {
		grace = DefaultDetachedGrace
	}
	return &goneSeen{grace: grace, since: map[string]time.Time{}, asked: map[string]time.Time{}}
}

// has tells whether the attachment of r was gone at each answer since the grace began.
func (g *goneSeen) has(r *stage.Record) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	since, gone := g.since[r.NQN]
	return gone && time.Since(since) >= g.grace
}

// answered notes what an answer says of the attachment of r. No answer is none that could be noted.
func (g *goneSeen) answered(r *stage.Record, gone bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !gone {
		delete(g.since, r.NQN)
	} else if _, before := g.since[r.NQN]; !before {
		g.since[r.NQN] = time.Now()
	}
}

// none notes that r has no attachment now.
func (g *goneSeen) none(r *stage.Record) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked[r.NQN] = time.Now()
}

// due tells whether the attachment of r may be looked for, again if there was none.
func (g *goneSeen) due(r *stage.Record) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	last, known := g.asked[r.NQN]
	return !known || time.Since(last) >= attachedAgain
}

// keep forgets all but these.
func (g *goneSeen) keep(records []*stage.Record) {
	g.mu.Lock()
	defer g.mu.Unlock()
	unknown := func(nqn string, _ time.Time) bool {
		return !slices.ContainsFunc(records, func(r *stage.Record) bool { return r.NQN == nqn })
	}
	maps.DeleteFunc(g.since, unknown)
	maps.DeleteFunc(g.asked, unknown)
}

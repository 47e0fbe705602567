package driver

import (
	"maps"
	"slices"
	"sync"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
)

// goneSeen remembers what Kubernetes has said of attachments, by NQN, between two times it is asked.
type goneSeen struct {
	mu    sync.Mutex
	gone  map[string]bool
	asked map[string]time.Time // when one was last looked for and not found
}

func newGoneSeen() *goneSeen {
	return &goneSeen{gone: map[string]bool{}, asked: map[string]time.Time{}}
}

// has tells whether the attachment of r was gone when last asked.
func (g *goneSeen) has(r *stage.Record) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.gone[r.NQN]
}

func (g *goneSeen) set(r *stage.Record, gone bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if gone {
		g.gone[r.NQN] = true
	} else {
		delete(g.gone, r.NQN)
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
	unknown := func(nqn string) bool {
		return !slices.ContainsFunc(records, func(r *stage.Record) bool { return r.NQN == nqn })
	}
	maps.DeleteFunc(g.gone, func(nqn string, _ bool) bool { return unknown(nqn) })
	maps.DeleteFunc(g.asked, func(nqn string, _ time.Time) bool { return unknown(nqn) })
}

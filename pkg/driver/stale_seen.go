package driver

import (
	"maps"
	"sync"
	"time"
)

// staleSeen remembers since when volumes are stale, so that each counts once, whoever finds it: the loop,
// or a call that kubelet repeats.
type staleSeen struct {
	mu    sync.Mutex
	since map[string]time.Time
}

// begin notes that a volume is stale. It tells since when, and whether that is news.
func (s *staleSeen) begin(id string) (since time.Time, news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if since, known := s.since[id]; known {
		return since, false
	}
	s.since[id] = time.Now()
	return s.since[id], true
}

// keep forgets what keep is false for.
func (s *staleSeen) keep(keep func(id string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.since, func(id string, _ time.Time) bool { return !keep(id) })
}

// end notes that a volume is not stale any more.
func (s *staleSeen) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.since, id)
}

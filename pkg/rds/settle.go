package rds

import (
	"sync"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// unsettled remembers slots of which a change was sent and its end never seen. The array may still
// be at it, although the connection is gone: what is sent at once could be overtaken, and a publish
// undone by the unpublish before it. So such a slot is left alone for a while.
type unsettled struct {
	wait time.Duration
	mu   sync.Mutex
	till map[string]time.Time
}

func newUnsettled(wait time.Duration) *unsettled {
	return &unsettled{wait: wait, till: map[string]time.Time{}}
}

// check is Unavailable while a slot must be left alone.
func (u *unsettled) check(slot string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	left := time.Until(u.till[slot])
	if left > 0 {
		return fault.Errorf("", fault.Unavailable, "an earlier command on it may still be running on the array; try again in %s", left.Round(time.Millisecond))
	}
	delete(u.till, slot)
	return nil
}

func (u *unsettled) note(slot string, err error) {
	if fault.KindOf(err) != fault.UnknownOutcome {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.till[slot] = time.Now().Add(u.wait)
}

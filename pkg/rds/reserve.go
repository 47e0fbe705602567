package rds

import (
	"sync"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// reservations holds what concurrent creates and expands of this process are about to
// take, so that several that each fit do not overfill a pool together.
type reservations struct {
	mu     sync.Mutex
	byPool map[string]map[string]uint64 // pool, slot: bytes
}

func newReservations() *reservations {
	return &reservations{byPool: map[string]map[string]uint64{}}
}

// take reserves bytes for slot if the pool has them, and returns how to give them back.
//
// The pool's figures are a look in the past: a create that finished since is neither in them
// nor reserved any more. The reserve of the pool covers that, and the array has the last word.
func (r *reservations) take(pool Pool, slot string, bytes uint64) (release func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var others uint64
	for s, b := range r.byPool[pool.MountPoint] {
		if s != slot {
			others += b
		}
	}
	available := subtract(pool.Available(), others)
	if bytes > available {
		return nil, fault.Errorf("", fault.NoSpace,
			"%d bytes wanted, %d available in pool %s (size %d, free %d, provisioned %d, reserve %d %%, about to be taken %d)",
			bytes, available, pool.MountPoint, pool.Size, pool.Free, pool.Provisioned, reservePercent, others)
	}
	if r.byPool[pool.MountPoint] == nil {
		r.byPool[pool.MountPoint] = map[string]uint64{}
	}
	r.byPool[pool.MountPoint][slot] = bytes
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.byPool[pool.MountPoint], slot)
	}, nil
}

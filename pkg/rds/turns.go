package rds

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// turns lets one call at a time work on a name. Creates and expands of one pool take turns from
// the look at its free space to the command that takes it, so that several that each fit do
// not overfill it together.
type turns struct {
	mu   sync.Mutex
	byID map[string]*semaphore.Weighted // pools: a handful, never removed
}

func newTurns() *turns { return &turns{byID: map[string]*semaphore.Weighted{}} }

// take waits for the turn until ctx ends.
func (t *turns) take(ctx context.Context, name string) (done func(), err error) {
	t.mu.Lock()
	turn, ok := t.byID[name]
	if !ok {
		turn = semaphore.NewWeighted(1)
		t.byID[name] = turn
	}
	t.mu.Unlock()
	if err := turn.Acquire(ctx, 1); err != nil {
		return nil, fault.Wrap("wait for other changes in pool "+name, err)
	}
	return func() { turn.Release(1) }, nil
}

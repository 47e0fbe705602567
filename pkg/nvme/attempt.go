package nvme

import (
	"context"
	"sync"
)

// attempts are the writes to /dev/nvme-fabrics that are running or whose controller is not yet
// somebody's. A write cannot be cut short and its controller will exist, so none is ever
// forgotten: who asks for the same connection joins it, and what nobody wants in the end is
// taken down (facts/nvme.md §1.1). The zero value is ready.
type attempts struct {
	mu    sync.Mutex
	byKey map[attemptKey]*attempt
}

// attemptKey is what the kernel takes for one connection.
type attemptKey struct {
	nqn, hostNQN string
	portal       Portal
}

type attempt struct {
	key     attemptKey
	written chan struct{} // closed when the write has returned
	over    chan struct{} // closed when the controller is somebody's, or gone, or left

	controller string // valid once written is closed
	err        error  // likewise
	left       error  // valid once over is closed: why the controller is still there, unwanted

	users    int // this and the rest are guarded by attempts.mu
	finished bool
	kept     bool
	dying    bool
}

// join takes part in the attempt for key; nil when there is none. One that is being taken down
// is waited for, not joined.
func (s *attempts) join(ctx context.Context, key attemptKey) (*attempt, error) {
	for {
		s.mu.Lock()
		a := s.byKey[key]
		if a == nil || !a.dying {
			if a != nil {
				a.users++
			}
			s.mu.Unlock()
			return a, nil
		}
		s.mu.Unlock()
		select {
		case <-a.over:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// begin registers a new attempt, or gives nil when there is one for key by now.
func (s *attempts) begin(key attemptKey) *attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byKey[key] != nil {
		return nil
	}
	if s.byKey == nil {
		s.byKey = map[attemptKey]*attempt{}
	}
	a := &attempt{key: key, users: 1, written: make(chan struct{}), over: make(chan struct{})}
	s.byKey[key] = a
	return a
}

// finish says what the write gave. It is true when a controller was made that nobody waits
// for: the caller takes it down and calls end.
func (s *attempts) finish(a *attempt, controller string, err error) (unwanted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.controller, a.err, a.finished = controller, err, true
	close(a.written)
	return s.settle(a)
}

// leave ends one user's part; keep says that the controller is in use from now on. It is true
// when the caller must take the controller down and call end.
func (s *attempts) leave(a *attempt, keep bool) (unwanted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.users--
	a.kept = a.kept || keep
	return s.settle(a)
}

// settle is called with the lock held.
func (s *attempts) settle(a *attempt) (unwanted bool) {
	if a.users > 0 || !a.finished {
		return false
	}
	if a.err == nil && !a.kept {
		a.dying = true
		return true
	}
	delete(s.byKey, a.key)
	close(a.over)
	return false
}

// end forgets an attempt whose controller was to be taken down; left says why it is still there.
func (s *attempts) end(a *attempt, left error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.left = left
	delete(s.byKey, a.key)
	close(a.over)
}

// of lists the attempts for a subsystem under a host NQN.
func (s *attempts) of(nqn, hostNQN string) []*attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*attempt
	for key, a := range s.byKey {
		if key.nqn == nqn && key.hostNQN == hostNQN {
			found = append(found, a)
		}
	}
	return found
}

// has tells whether an attempt for key is running or its controller is not yet somebody's.
func (s *attempts) has(key attemptKey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byKey[key] != nil
}

package nvme

import "sync"

// pathTrouble remembers what kept further paths from being made, so that each is said once. The zero value
// is ready.
type pathTrouble struct {
	mu   sync.Mutex
	said map[string]map[Portal]string // by NQN
}

// news tells whether that is something else than last time; "" is no trouble.
func (t *pathTrouble) news(nqn string, p Portal, trouble string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.said == nil {
		t.said = map[string]map[Portal]string{}
	}
	if t.said[nqn] == nil {
		t.said[nqn] = map[Portal]string{}
	}
	before := t.said[nqn][p]
	t.said[nqn][p] = trouble
	return before != trouble
}

// forget forgets an NQN that is disconnected.
func (t *pathTrouble) forget(nqn string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.said, nqn)
}

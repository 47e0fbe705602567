package driver

import (
	"sync"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// inFlight lets one operation at a time work on a volume. A second one is told who is at it,
// rather than queued: kubelet and sidecars retry by themselves, and queues of retries pile up.
type inFlight struct {
	mu   sync.Mutex
	held map[string]holder
	now  func() time.Time
}

type holder struct {
	what  string // a telemetry.Operation, or recovery
	since time.Time
}

func newInFlight() *inFlight { return &inFlight{held: map[string]holder{}, now: time.Now} }

// busy tells whether the volume is taken now.
func (f *inFlight) busy(key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, taken := f.held[key]
	return taken
}

// begin takes the volume for what, or fails with InFlight.
func (f *inFlight) begin(key, what string) (end func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if h, taken := f.held[key]; taken {
		return nil, fault.Errorf("", fault.InFlight, "volume %s is being worked on: %s, for %s", key, h.what, f.now().Sub(h.since).Round(time.Millisecond))
	}
	f.held[key] = holder{what: what, since: f.now()}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.held, key)
	}, nil
}

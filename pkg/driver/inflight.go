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
	yield func() // nil, or asks the holder to make way as soon as that does no harm
	since time.Time
}

func newInFlight() *inFlight { return &inFlight{held: map[string]holder{}, now: time.Now} }

// busy tells whether the volume is taken now.
func (f *inFlight) busy(key string) bool { return f.heldBy(key) != "" }

// heldBy tells who has the volume now; "" is nobody.
func (f *inFlight) heldBy(key string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.held[key].what
}

// begin takes the volume for what, or fails with InFlight.
func (f *inFlight) begin(key, what string) (end func(), err error) {
	return f.beginYielding(key, what, nil)
}

// beginYielding is begin for work that makes way: yield is called, maybe more than once, when somebody
// else asks for the volume.
func (f *inFlight) beginYielding(key, what string, yield func()) (end func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if h, taken := f.held[key]; taken {
		if h.yield != nil {
			h.yield()
		}
		return nil, fault.Errorf("", fault.InFlight, "volume %s is being worked on: %s, for %s", key, h.what, f.now().Sub(h.since).Round(time.Millisecond))
	}
	f.held[key] = holder{what: what, yield: yield, since: f.now()}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.held, key)
	}, nil
}

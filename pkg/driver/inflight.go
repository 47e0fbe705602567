package driver

import (
	"sync"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// inFlight lets one operation at a time work on a volume. A second one is told who is at it,
// rather than queued: kubelet and sidecars retry by themselves, and queues of retries pile up.
type inFlight struct {
	mu   sync.Mutex
	held map[string]holder
	now  func() time.Time
}

type holder struct {
	op    telemetry.Operation
	since time.Time
}

func newInFlight() *inFlight { return &inFlight{held: map[string]holder{}, now: time.Now} }

// begin takes the volume for op, or fails with InFlight.
func (f *inFlight) begin(key string, op telemetry.Operation) (end func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if h, taken := f.held[key]; taken {
		return nil, fault.Errorf("", fault.InFlight, "volume %s is being worked on: %s, for %s", key, h.op, f.now().Sub(h.since).Round(time.Millisecond))
	}
	f.held[key] = holder{op: op, since: f.now()}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.held, key)
	}, nil
}

package rdssim

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// FaultKind is what goes wrong. The set is closed.
type FaultKind string

// The kinds of fault.
const (
	// DropBefore cuts the connection before the exec is carried out.
	DropBefore FaultKind = "drop_before"
	// DropAfter cuts it when the exec has been carried out, before the reply.
	DropAfter FaultKind = "drop_after"
	// Delay waits for Fault.Delay before the exec.
	Delay FaultKind = "delay"
	// Garble damages the reply.
	Garble FaultKind = "garble"
	// HalfReply ends the reply in the middle.
	HalfReply FaultKind = "half_reply"
	// Hang never answers and carries nothing out; the session stays open until
	// the client closes it.
	Hang FaultKind = "hang"
	// RefuseSession refuses to open a session. Fault.Match is not looked at.
	RefuseSession FaultKind = "refuse_session"
	// NoSpace lets everything in the exec that takes space fail.
	NoSpace FaultKind = "no_space"
	// AuthRefused refuses the login. Fault.Match is not looked at.
	AuthRefused FaultKind = "auth_refused"
	// Reboot restarts the array for Fault.Delay instead of answering.
	Reboot FaultKind = "reboot"
)

var faultKinds = []FaultKind{DropBefore, DropAfter, Delay, Garble, HalfReply, Hang, RefuseSession, NoSpace, AuthRefused, Reboot}

// Fault is one armed fault.
type Fault struct {
	Kind FaultKind
	// Match limits the fault to execs whose text contains it; empty is any.
	Match string
	// Count is how often it strikes; 0 is once, negative is until cleared.
	Count int
	// Delay is the duration of Delay and Reboot.
	Delay time.Duration
}

// UnmarshalJSON reads {"kind":…,"match":…,"count":…,"delay":"50ms"}.
func (f *Fault) UnmarshalJSON(text []byte) error {
	var wire struct {
		Kind  FaultKind `json:"kind"`
		Match string    `json:"match"`
		Count int       `json:"count"`
		Delay string    `json:"delay"`
	}
	if err := json.Unmarshal(text, &wire); err != nil {
		return err
	}
	*f = Fault{Kind: wire.Kind, Match: wire.Match, Count: wire.Count}
	if wire.Delay == "" {
		return nil
	}
	var err error
	f.Delay, err = time.ParseDuration(wire.Delay)
	return err
}

// Inject arms a fault. Armed faults of one exec all strike.
func (a *Array) Inject(f Fault) error {
	if !slices.Contains(faultKinds, f.Kind) {
		return fmt.Errorf("fault kind %q is not one of %v", f.Kind, faultKinds)
	}
	if f.Count == 0 {
		f.Count = 1
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.faults = append(a.faults, f)
	return nil
}

// ClearFaults disarms all faults.
func (a *Array) ClearFaults() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.faults = nil
}

// strike uses up one of the armed faults of the kind that fits the text.
func (a *Array) strike(kind FaultKind, text string) (Fault, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.faults {
		f := a.faults[i]
		if f.Kind != kind || !strings.Contains(text, f.Match) {
			continue
		}
		if f.Count > 0 {
			a.faults[i].Count--
			if a.faults[i].Count == 0 {
				a.faults = slices.Delete(a.faults, i, i+1)
			}
		}
		return f, true
	}
	return Fault{}, false
}

// strikes is strike for faults whose delay does not matter.
func (a *Array) strikes(kind FaultKind, text string) bool {
	_, hit := a.strike(kind, text)
	return hit
}

// garble damages about a third of the bytes, line ends excepted.
func (a *Array) garble(text string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := []byte(text)
	for i, c := range out {
		if c != '\r' && c != '\n' && a.random.IntN(3) == 0 {
			out[i] = byte(a.random.IntN(256))
		}
	}
	return string(out)
}

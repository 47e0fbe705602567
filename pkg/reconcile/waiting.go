package reconcile

import (
	"fmt"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// waitingGrace is how long an outage is not worth an event: the kernel reconnects at once after a hiccup.
const waitingGrace = 10 * time.Second

// tellWaiting posts, for all volumes together, that this node waits for the array, and that it has it back.
func (n *Node) tellWaiting() {
	if n.events == nil {
		return
	}
	waiting, live := 0, 0
	for _, w := range n.seen {
		switch {
		case !w.away.IsZero() && time.Since(w.away) >= waitingGrace:
			waiting++
		case w.live:
			live++
		}
	}
	switch {
	case waiting > 0 && !n.waiting:
		n.events.Node(telemetry.EventArrayUnreachable, fmt.Sprintf("%d of %d staged volumes have no connection to the array: their users wait, "+
			"and go on when it is back", waiting, len(n.seen)))
	case waiting == 0 && n.waiting && live > 0:
		n.events.Node(telemetry.EventArrayReachable, fmt.Sprintf("no staged volume waits for the array any more; %d are connected", live))
	}
	// Between its loss and its recovery a volume neither waits nor is connected: what was told holds until then.
	n.waiting = waiting > 0 || n.waiting && live == 0 && len(n.seen) > 0
}

package reconcile

import (
	"context"
	"time"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// linkCheck is one count of the controllers.
type linkCheck struct {
	at    time.Time
	count map[telemetry.ControllerState]int // nobody changes it any more
}

// countControllers reads sysfs, so that no scrape has to.
func (n *Node) countControllers(ctx context.Context) {
	count, err := n.controllers.States()
	if err == nil {
		n.unread = ""
		n.links.Store(&linkCheck{at: time.Now(), count: count})
		return
	}
	n.links.Store(nil)
	n.metrics.RecordTelemetryError(ctx)
	if n.unread != err.Error() {
		n.unread = err.Error()
		n.log.Error("the NVMe controllers cannot be counted: their metrics are left out", zap.Error(err))
	}
}

// ControllerStates is the last count of this driver's NVMe controllers by state, for the gauges; it is not
// known where that failed or is too old. It never blocks.
func (n *Node) ControllerStates() (count map[telemetry.ControllerState]int, known bool) {
	c := n.links.Load()
	if c == nil || time.Since(c.at) > staleAfter {
		return nil, false
	}
	return c.count, true
}

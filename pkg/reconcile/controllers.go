package reconcile

import (
	"context"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// controllersInterval is the pace of counting controllers, a few times between two scrapes.
const controllersInterval = 5 * time.Second

// Controllers counts the NVMe controllers of this driver now and then, so that no scrape has to read sysfs. It
// does so beside Node, whose looks take long when many volumes are lost.
type Controllers struct {
	kernel  controllerStates
	metrics *telemetry.Metrics
	log     *zap.Logger
	last    atomic.Pointer[controllerCount]
	cause   string // why they could not be counted, to say it once
}

// controllerStates is *nvme.Host.
type controllerStates interface {
	States() (map[telemetry.ControllerState]int, error)
}

type controllerCount struct {
	at    time.Time
	count map[telemetry.ControllerState]int // nobody changes it any more
}

// NewControllers makes one. Nothing happens before Run.
func NewControllers(kernel controllerStates, metrics *telemetry.Metrics, log *zap.Logger) *Controllers {
	return &Controllers{kernel: kernel, metrics: metrics, log: log}
}

// Run counts until ctx ends.
func (c *Controllers) Run(ctx context.Context) {
	for {
		began := time.Now()
		c.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(controllersInterval, lookShare*time.Since(began))):
		}
	}
}

func (c *Controllers) look(ctx context.Context) {
	count, err := c.kernel.States()
	if err == nil {
		c.cause = ""
		c.last.Store(&controllerCount{at: time.Now(), count: count})
		return
	}
	c.last.Store(nil)
	c.metrics.RecordTelemetryError(ctx)
	if c.cause != err.Error() {
		c.cause = err.Error()
		c.log.Error("the NVMe controllers cannot be counted: their metrics are left out", zap.Error(err))
	}
}

// States is the last count by state, for the gauges; it is not known where that failed or is too old. It
// never blocks.
func (c *Controllers) States() (count map[telemetry.ControllerState]int, known bool) {
	last := c.last.Load()
	if last == nil || time.Since(last.at) > staleAfter {
		return nil, false
	}
	return last.count, true
}

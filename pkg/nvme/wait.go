package nvme

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// The pace of looking again where no uevent comes (facts/nvme.md §5).
const (
	firstPoll = 20 * time.Millisecond
	lastPoll  = 100 * time.Millisecond
)

// errStop wraps what waiting longer cannot change.
type errStop struct{ error }

func (e errStop) Unwrap() error { return e.error }

// poll calls look until it succeeds, gives an errStop, or ctx ends; it looks at once, at each
// wake-up, and every 20 to 100 ms. It tells how often it looked, and at ctx's end the last
// reason beside ctx's own.
func poll(ctx context.Context, wake <-chan struct{}, look func() error) (int, error) {
	pause := firstPoll
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for looks := 1; ; looks++ {
		err := look()
		if err == nil {
			return looks, nil
		}
		if stop, ok := errors.AsType[errStop](err); ok {
			return looks, stop.error
		}
		select {
		case <-ctx.Done():
		case <-wake:
		case <-timer.C:
			pause = min(2*pause, lastPoll)
		}
		if ctx.Err() != nil { // a wake-up at the same time is no reason to look again
			return looks, fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		}
		timer.Reset(pause)
	}
}

// watch subscribes to uevents. Where that is not allowed, polling alone does.
func (h *Host) watch() (wake <-chan struct{}, stop func()) {
	w, err := h.events()
	if err != nil {
		h.log.Debug("no kernel events, polling only", zap.Error(err))
		return nil, func() {}
	}
	return w.Wake(), func() {
		if err := w.Close(); err != nil {
			h.log.Debug("end the subscription to kernel events", zap.Error(err))
		}
	}
}

package export

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Together they stay below what Kubernetes leaves a pod after SIGTERM (30 s by default).
const (
	flushTimeout    = 4 * time.Second
	shutdownTimeout = 5 * time.Second
)

// Shutdown sends what spans are left, then stops HTTP, then the metrics: a scrape in between
// still sees them. It takes at most 5 s, also where the collector is a black hole. It may be
// called once; nothing is recorded after it.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	var errs []error
	if err := t.traces.shutdown(ctx); err != nil {
		errs = append(errs, fmt.Errorf("send the last spans: %w", err))
	}
	if t.server != nil {
		if err := t.server.shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop serving metrics: %w", err))
		}
	}
	if err := t.meters.shutdown(ctx); err != nil {
		errs = append(errs, fmt.Errorf("stop metrics: %w", err))
	}
	return errors.Join(errs...)
}

package export

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// shutdownTimeout makes for 5 s with what an exporter takes to notice that its time is up, well
// below what Kubernetes leaves a pod after SIGTERM (30 s by default).
const shutdownTimeout = 4500 * time.Millisecond

// Shutdown sends what spans are left, then stops HTTP, then sends the last metrics and log lines:
// a scrape in between still sees all, and so do they. It takes at most 5 s, also where every
// collector is a black hole. It may be called once; nothing is recorded after it.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	var traces, http, logs, metrics error
	traces = share(ctx, 2, t.traces.shutdown)
	if t.server != nil {
		http = share(ctx, 5, t.server.shutdown)
	}
	var rest sync.WaitGroup
	rest.Go(func() { logs = t.logs.shutdown(ctx) })
	rest.Go(func() { metrics = t.meters.shutdown(ctx) })
	rest.Wait()
	return errors.Join(
		told("send the last spans", traces), told("stop serving metrics", http),
		told("send the last log lines", logs), told("stop metrics", metrics))
}

// share gives stop one part of the time that ctx has left: what comes after it must have some,
// and the SDK leaves a provider running whose time is up when it is asked to stop.
func share(ctx context.Context, parts time.Duration, stop func(context.Context) error) error {
	deadline, _ := ctx.Deadline()
	ctx, cancel := context.WithTimeout(ctx, time.Until(deadline)/parts)
	defer cancel()
	return stop(ctx)
}

func told(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

package export

import (
	"context"
	"fmt"

	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// lifeline ends exports that still run. The batch processors hand them a time-out of their own
// only: after a Shutdown that ran out of time they would go on for 30 s each.
type lifeline struct {
	life  context.Context
	abort context.CancelFunc
}

func newLifeline() lifeline {
	life, abort := context.WithCancel(context.Background())
	return lifeline{life: life, abort: abort}
}

// do exports until ctx ends or abort is called. After that it reports no errors: Shutdown has
// told of the loss, and the log may be closed.
func (l lifeline) do(ctx context.Context, export func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(l.life, cancel)
	defer stop()
	err := export(ctx)
	if l.life.Err() != nil {
		return nil
	}
	return err
}

// spanExporter exports within a lifeline.
type spanExporter struct {
	sdktrace.SpanExporter
	lifeline
}

// ExportSpans implements sdktrace.SpanExporter.
func (e spanExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	return e.do(ctx, func(ctx context.Context) error { return e.SpanExporter.ExportSpans(ctx, spans) })
}

// logExporter exports within a lifeline.
type logExporter struct {
	sdklog.Exporter
	lifeline
}

// Export implements sdklog.Exporter. Its errors begin alike, as those of the other two signals do, so that
// they are one class.
func (e logExporter) Export(ctx context.Context, records []sdklog.Record) error {
	err := e.do(ctx, func(ctx context.Context) error { return e.Exporter.Export(ctx, records) })
	if err != nil {
		return fmt.Errorf("logs export: %w", err)
	}
	return nil
}

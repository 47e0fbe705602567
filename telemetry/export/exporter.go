package export

import (
	"context"

	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// exportClass is that of every failed export: with a collector that is away all signals fail at once.
const exportClass = "export"

// exportError is a failed export.
type exportError struct {
	signal  signal
	cause   error
	follows bool // from other failures, which say more
}

// Error implements error.
func (e exportError) Error() string { return e.cause.Error() }

// Unwrap gives what the exporter said.
func (e exportError) Unwrap() error { return e.cause }

func failedExport(s signal, err error) error {
	if err == nil {
		return nil
	}
	return exportError{signal: s, cause: err}
}

// spanExporter exports within a lifeline.
type spanExporter struct {
	sdktrace.SpanExporter
	lifeline
}

// ExportSpans implements sdktrace.SpanExporter.
func (e spanExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	return failedExport(tracesSignal, e.do(ctx, func(ctx context.Context) error { return e.SpanExporter.ExportSpans(ctx, spans) }))
}

// logExporter exports within a lifeline.
type logExporter struct {
	sdklog.Exporter
	lifeline
}

// Export implements sdklog.Exporter.
func (e logExporter) Export(ctx context.Context, records []sdklog.Record) error {
	return failedExport(logsSignal, e.do(ctx, func(ctx context.Context) error { return e.Exporter.Export(ctx, records) }))
}

// metricExporter needs no lifeline: its reader ends with the context of its shutdown.
type metricExporter struct {
	sdkmetric.Exporter
}

// Export implements sdkmetric.Exporter.
func (e metricExporter) Export(ctx context.Context, metrics *metricdata.ResourceMetrics) error {
	return failedExport(metricsSignal, e.Exporter.Export(ctx, metrics))
}

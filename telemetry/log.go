package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
)

// LogFields are the fields that tie a log line to its trace (OpenTelemetry's
// "Trace Context in non-OTLP Log Formats"); none outside of a trace.
func LogFields(ctx context.Context) []zap.Field {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() {
		return nil
	}
	return []zap.Field{
		zap.String("trace_id", sc.TraceID().String()),
		zap.String("span_id", sc.SpanID().String()),
		zap.String("trace_flags", sc.TraceFlags().String()),
	}
}

// Event records something that happened during a call: a span event and a log line.
func Event(ctx context.Context, log *zap.Logger, name string, attrs ...Attr) {
	trace.SpanFromContext(ctx).AddEvent(name, trace.WithAttributes(attrs...))
	fields := LogFields(ctx)
	for _, a := range attrs {
		fields = append(fields, zap.String(string(a.Key), a.Value.String()))
	}
	log.Info(name, fields...)
}

// TraceParent is the W3C traceparent of ctx, or "" outside of a trace.
func TraceParent(ctx context.Context) string {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() {
		return ""
	}
	return "00-" + sc.TraceID().String() + "-" + sc.SpanID().String() + "-" + sc.TraceFlags().String()
}

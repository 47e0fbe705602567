package telemetry

import (
	"context"
	"strconv"

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

// SplitLogFields takes LogFields out of a line again, for a log that has a place for a trace.
func SplitLogFields(fields []zap.Field) (sc trace.SpanContext, rest []zap.Field) {
	var config trace.SpanContextConfig
	for _, field := range fields {
		switch field.Key {
		case "trace_id":
			config.TraceID, _ = trace.TraceIDFromHex(field.String) // what is no id makes sc invalid
		case "span_id":
			config.SpanID, _ = trace.SpanIDFromHex(field.String)
		case "trace_flags":
			flags, _ := strconv.ParseUint(field.String, 16, 8)
			config.TraceFlags = trace.TraceFlags(flags)
		default:
			rest = append(rest, field)
		}
	}
	return trace.NewSpanContext(config), rest
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

package telemetry

import (
	"testing"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
)

func TestSplitLogFieldsIsTheInverseOfLogFields(t *testing.T) {
	tracer, _ := newRecorder()
	ctx, span := tracer.StartRoot(t.Context(), "stage")
	defer span.End(nil)
	other := zap.String("volume_id", "rds/csi-1")
	sc, rest := SplitLogFields(append(LogFields(ctx), other))
	if want := trace.SpanContextFromContext(ctx); !sc.Equal(want) {
		t.Errorf("span context %v, want %v", sc, want)
	}
	if len(rest) != 1 || !rest[0].Equals(other) {
		t.Errorf("the rest is %v", rest)
	}
}

func TestSplitLogFieldsFindsNoTraceWhereNoneIs(t *testing.T) {
	for name, fields := range map[string][]zap.Field{
		"nothing":      nil,
		"no trace":     {zap.String("volume_id", "rds/csi-1")},
		"half a trace": {zap.String("trace_id", "0af7651916cd43dd8448eb211c80319c")},
		"no ids":       {zap.String("trace_id", "x"), zap.String("span_id", "y"), zap.String("trace_flags", "z")},
	} {
		if sc, _ := SplitLogFields(fields); sc.IsValid() {
			t.Errorf("%s: %v", name, sc)
		}
	}
}

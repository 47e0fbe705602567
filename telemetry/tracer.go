package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/trace"
)

// Tracer begins root spans, for work that no call started: loops and recoveries. Steps
// below them are begun with Start.
type Tracer struct {
	tracer trace.Tracer
}

// NewTracer gives a Tracer on tp.
func NewTracer(tp trace.TracerProvider) *Tracer { return &Tracer{tracer: tp.Tracer(Scope)} }

// StartRoot begins a trace of its own, also where ctx carries a span.
func (t *Tracer) StartRoot(ctx context.Context, name string) (context.Context, *Span) {
	ctx, span := t.tracer.Start(ctx, name, trace.WithNewRoot())
	return ctx, &Span{span: span}
}

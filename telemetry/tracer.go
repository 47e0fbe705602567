package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Tracer begins root spans, for work that no call started: loops and recoveries. Steps
// below them are begun with Start.
type Tracer struct {
	tracer trace.Tracer
}

// NewTracer gives a Tracer on tp.
func NewTracer(tp trace.TracerProvider) *Tracer { return &Tracer{tracer: tp.Tracer(scope)} }

// NoopTracer gives a Tracer that records nothing.
func NoopTracer() *Tracer { return NewTracer(noop.NewTracerProvider()) }

// StartRoot begins a trace of its own, also where ctx carries a span.
func (t *Tracer) StartRoot(ctx context.Context, name string) (context.Context, *Span) {
	ctx, span := t.tracer.Start(ctx, name, trace.WithNewRoot())
	return ctx, &Span{span: span}
}

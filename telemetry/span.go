package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Scope is the instrumentation scope of all spans, metrics and log records of the driver.
const Scope = "git.srvlab.io/whiskey/rds-csi-driver"

// Attr is a span or event attribute, made by the typed helpers of attr.go.
type Attr = attribute.KeyValue

// SpanKind tells a step that waits for somebody else (Client) from one of our own (Internal).
type SpanKind = trace.SpanKind

// The kinds of span the driver starts itself; server spans come from otelgrpc.
const (
	Internal SpanKind = trace.SpanKindInternal
	Client   SpanKind = trace.SpanKindClient
)

// Span is one step of a call.
type Span struct {
	span trace.Span
	over func() // ends the step for who asks what a call is doing; nil: nobody does
}

// Start begins a step below the span that ctx carries, with that span's provider, so that
// no package has to be handed a tracer. Below no span it costs next to nothing and records nothing.
func Start(ctx context.Context, name string, kind SpanKind, attrs ...Attr) (context.Context, *Span) {
	above, over := trace.SpanFromContext(ctx), begin(ctx, name)
	if !above.SpanContext().IsSampled() {
		return ctx, &Span{span: trace.SpanFromContext(context.Background()), over: over} // the sampler would drop it as well
	}
	ctx, span := above.TracerProvider().Tracer(Scope).Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(attrs...))
	return ctx, &Span{span: span, over: over}
}

// Set adds attributes that became known during the step.
func (s *Span) Set(attrs ...Attr) { s.span.SetAttributes(attrs...) }

// End ends the step. A non-nil err marks it failed, with its error.type.
func (s *Span) End(err error) {
	if s.over != nil {
		s.over()
	}
	fail(s.span, err)
	s.span.End()
}

// Fail marks the span of ctx as failed without ending it: for spans that otelgrpc ends,
// since it leaves most gRPC codes unmarked.
func Fail(ctx context.Context, err error) { fail(trace.SpanFromContext(ctx), err) }

func fail(span trace.Span, err error) {
	if err == nil {
		return
	}
	span.SetStatus(codes.Error, err.Error())
	span.SetAttributes(ErrorType(err))
}

// Annotate adds attributes to the span of ctx.
func Annotate(ctx context.Context, attrs ...Attr) {
	trace.SpanFromContext(ctx).SetAttributes(attrs...)
}

// ErrorType is the error.type of err: what its ErrorType method says, else _OTHER.
func ErrorType(err error) Attr { return attribute.String("error.type", string(reasonOf(err))) }

// Link adds a link from the span of ctx to the span that traceparent (W3C) names: related,
// but not its parent, as days may lie between. What is not a traceparent is ignored.
func Link(ctx context.Context, traceparent string) {
	carrier := propagation.MapCarrier{"traceparent": traceparent}
	other := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
	if other.IsValid() {
		trace.SpanFromContext(ctx).AddLink(trace.Link{SpanContext: other})
	}
}

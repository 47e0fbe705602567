package export

import (
	"context"

	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"
)

// traces is the tracer provider; it does nothing where traces are off.
type traces struct {
	provider trace.TracerProvider
	flush    func(context.Context) error
	abort    func() // ends exports that still run
}

// newTraces exports to what the environment asks for, and to collect if that is not nil.
func newTraces(ctx context.Context, env *environment, res *resource.Resource, collect *Collector) *traces {
	t := &traces{
		provider: noop.NewTracerProvider(),
		flush:    func(context.Context) error { return nil },
		abort:    func() {},
	}
	if env.exporterName(tracesSignal) == "" && collect == nil {
		return t
	}
	sampler, err := env.sampler()
	if err != nil {
		env.log.Warn("traces are off", zap.Error(err))
		return t
	}
	options := []sdktrace.TracerProviderOption{
		sdktrace.WithSampler(sampler),
		sdktrace.WithResource(res),
		sdktrace.WithRawSpanLimits(env.spanLimits()),
	}
	if collect != nil {
		options = append(options, sdktrace.WithSpanProcessor(collect))
	}
	exporter, ok := newExporter(ctx, env, tracesSignal, traceMakers())
	if ok {
		line := newLifeline()
		t.abort = line.abort
		options = append(options, sdktrace.WithBatcher(spanExporter{exporter, line}))
	}
	if !ok && collect == nil {
		return t
	}
	provider := sdktrace.NewTracerProvider(options...)
	t.provider, t.flush = provider, provider.Shutdown
	return t
}

func traceMakers() makers[sdktrace.SpanExporter] {
	return makers[sdktrace.SpanExporter]{
		grpc:  func(ctx context.Context) (sdktrace.SpanExporter, error) { return otlptracegrpc.New(ctx) },
		http:  func(ctx context.Context) (sdktrace.SpanExporter, error) { return otlptracehttp.New(ctx) },
		other: func(ctx context.Context) (sdktrace.SpanExporter, error) { return autoexport.NewSpanExporter(ctx) },
	}
}

// shutdown sends what is left, until ctx ends.
func (t *traces) shutdown(ctx context.Context) error {
	defer t.abort()
	return t.flush(ctx)
}

// spanLimits are those of the environment; a value's length is limited to 256 where it says
// nothing, as the SDK's default is no limit.
func (e *environment) spanLimits() sdktrace.SpanLimits {
	limits := sdktrace.NewSpanLimits()
	if e.get("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT") == "" {
		limits.AttributeValueLengthLimit = 256
	}
	return limits
}

package export

import (
	"context"

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
func newTraces(ctx context.Context, env environment, res *resource.Resource, collect *Collector, log *zap.Logger) *traces {
	t := &traces{
		provider: noop.NewTracerProvider(),
		flush:    func(context.Context) error { return nil },
		abort:    func() {},
	}
	if !env.tracesAsked() && collect == nil {
		return t
	}
	sampler, err := env.sampler()
	if err != nil {
		log.Warn("traces are off", zap.Error(err))
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
	exporter := newExporter(ctx, env, log)
	if exporter != nil {
		t.abort = exporter.abort
		options = append(options, sdktrace.WithBatcher(exporter))
	}
	if exporter == nil && collect == nil {
		return t
	}
	provider := sdktrace.NewTracerProvider(options...)
	t.provider, t.flush = provider, provider.Shutdown
	return t
}

// newExporter is nil where traces are not asked for, or wrongly.
func newExporter(ctx context.Context, env environment, log *zap.Logger) *abortable {
	if !env.tracesAsked() {
		return nil
	}
	exporter, err := env.exporter(ctx, log)
	if err != nil {
		log.Warn("traces are off", zap.Error(err))
		return nil
	}
	log.Info("traces are exported")
	return newAbortable(exporter)
}

// shutdown sends what is left, for at most flushTimeout.
func (t *traces) shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	defer t.abort()
	return t.flush(ctx)
}

// spanLimits are those of the environment; a value's length is limited to 256 where it says
// nothing, as the SDK's default is no limit.
func (e environment) spanLimits() sdktrace.SpanLimits {
	limits := sdktrace.NewSpanLimits()
	if e.get("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT") == "" {
		limits.AttributeValueLengthLimit = 256
	}
	return limits
}

// abortable is an exporter whose exports can be ended. The batch processor hands them a
// time-out of its own only: after a Shutdown that ran out of time they would go on for 30 s each.
type abortable struct {
	sdktrace.SpanExporter
	life  context.Context
	abort context.CancelFunc
}

func newAbortable(exporter sdktrace.SpanExporter) *abortable {
	life, abort := context.WithCancel(context.Background())
	return &abortable{SpanExporter: exporter, life: life, abort: abort}
}

// ExportSpans exports until ctx ends or abort is called. After that it reports no errors:
// Shutdown has told of the loss, and the log may be closed.
func (a *abortable) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(a.life, cancel)
	defer stop()
	err := a.SpanExporter.ExportSpans(ctx, spans)
	if a.life.Err() != nil {
		return nil
	}
	return err
}

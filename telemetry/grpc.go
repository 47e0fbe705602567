package telemetry

import (
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
)

// ServerOption makes a gRPC server begin a span and record rpc.server.call.duration for
// each call. The providers are passed rather than found in globals, and the propagator as
// well: otelgrpc extracts no parent without one.
func ServerOption(tp trace.TracerProvider, mp metric.MeterProvider, p propagation.TextMapPropagator) grpc.ServerOption {
	return grpc.StatsHandler(otelgrpc.NewServerHandler(
		otelgrpc.WithTracerProvider(tp),
		otelgrpc.WithMeterProvider(longCalls{mp}),
		otelgrpc.WithPropagators(p),
	))
}

// longCalls gives otelgrpc's histograms our buckets: its own end at 10 s. As advice to the
// instrument rather than a view, it leaves each reader its own kind of histogram.
type longCalls struct{ metric.MeterProvider }

// Meter implements metric.MeterProvider.
func (p longCalls) Meter(name string, options ...metric.MeterOption) metric.Meter {
	return longCallsMeter{p.MeterProvider.Meter(name, options...)}
}

type longCallsMeter struct{ metric.Meter }

// Float64Histogram implements metric.Meter.
func (m longCallsMeter) Float64Histogram(name string, options ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	return m.Meter.Float64Histogram(name, append(options, metric.WithExplicitBucketBoundaries(DurationBuckets()...))...)
}

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
		otelgrpc.WithMeterProvider(mp),
		otelgrpc.WithPropagators(p),
	))
}

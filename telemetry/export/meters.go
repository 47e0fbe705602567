package export

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/otlptranslator"
	promexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// cardinalityLimit is a tripwire: no instrument of ours comes near it, so a series with
// otel_metric_overflow="true" says that a value set is not closed.
const cardinalityLimit = 500

// meters is the meter provider and the registry it is read through; both do nothing where
// metrics are off.
type meters struct {
	provider metric.MeterProvider
	registry *prometheus.Registry // nil: metrics are off
	shutdown func(context.Context) error
}

func newMeters(on bool, res *resource.Resource) (*meters, error) {
	if !on {
		return &meters{
			provider: noop.NewMeterProvider(),
			shutdown: func(context.Context) error { return nil },
		}, nil
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
	)
	exporter, err := promexporter.New(
		promexporter.WithRegisterer(registry),
		promexporter.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes),
		// A scope version in each series would start all series anew at each upgrade.
		promexporter.WithoutScopeInfo(),
	)
	if err != nil {
		return nil, fmt.Errorf("set up telemetry: make the Prometheus exporter: %w", err)
	}
	provider := sdkmetric.NewMeterProvider(
		sdkmetric.WithReader(exporter),
		sdkmetric.WithResource(res),
		sdkmetric.WithCardinalityLimit(cardinalityLimit),
		sdkmetric.WithView(rpcBuckets()),
	)
	return &meters{provider: provider, registry: registry, shutdown: provider.Shutdown}, nil
}

// rpcBuckets replaces the buckets of otelgrpc, which end at 10 s.
func rpcBuckets() sdkmetric.View {
	return sdkmetric.NewView(
		sdkmetric.Instrument{Name: "rpc.server.call.duration"},
		sdkmetric.Stream{Aggregation: sdkmetric.AggregationExplicitBucketHistogram{Boundaries: telemetry.DurationBuckets()}},
	)
}

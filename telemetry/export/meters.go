package export

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	promexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
)

// cardinalityLimit is a tripwire: no instrument of ours comes near it, so a series with
// otel_metric_overflow="true" says that a value set is not closed.
const cardinalityLimit = 500

// meters is the meter provider and what /metrics gathers through it; it does nothing where
// nobody asks for metrics.
type meters struct {
	provider metric.MeterProvider
	gatherer prometheus.Gatherer // nil: no /metrics
	shutdown func(context.Context) error
}

// newMeters has two ways out, each asked for by itself: /metrics, and OTLP.
func newMeters(ctx context.Context, cfg Config, env *environment, res *resource.Resource) (*meters, error) {
	m := &meters{provider: noop.NewMeterProvider(), shutdown: func(context.Context) error { return nil }}
	var readers []sdkmetric.Reader
	if cfg.MetricsAddress != "" {
		var err error
		if m.gatherer, readers, err = prometheusReaders(cfg.NativeHistograms); err != nil {
			return nil, fmt.Errorf("set up telemetry: make the Prometheus exporter: %w", err)
		}
	}
	if exporter, ok := newExporter(ctx, env, metricsSignal, metricMakers()); ok {
		readers = append(readers, sdkmetric.NewPeriodicReader(metricExporter{exporter}))
	}
	if len(readers) == 0 {
		return m, nil
	}
	options := []sdkmetric.Option{
		sdkmetric.WithResource(res),
		sdkmetric.WithCardinalityLimit(cardinalityLimit),
	}
	for _, reader := range readers {
		options = append(options, sdkmetric.WithReader(reader))
	}
	provider := sdkmetric.NewMeterProvider(options...)
	m.provider, m.shutdown = provider, provider.Shutdown
	return m, nil
}

func metricMakers() makers[sdkmetric.Exporter] {
	return makers[sdkmetric.Exporter]{
		grpc: func(ctx context.Context) (sdkmetric.Exporter, error) { return otlpmetricgrpc.New(ctx) },
		http: func(ctx context.Context) (sdkmetric.Exporter, error) { return otlpmetrichttp.New(ctx) },
	}
}

// prometheusReaders are what /metrics gathers through.
func prometheusReaders(native bool) (prometheus.Gatherer, []sdkmetric.Reader, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
	)
	classic, err := prometheusReader(registry)
	if err != nil || !native {
		return registry, []sdkmetric.Reader{classic}, err
	}
	natives := prometheus.NewRegistry()
	exponential, err := prometheusReader(natives, promexporter.WithAggregationSelector(nativeOnly), promexporter.WithoutTargetInfo())
	return bothHistograms{classic: registry, native: natives}, []sdkmetric.Reader{classic, exponential}, err
}

func prometheusReader(registry *prometheus.Registry, options ...promexporter.Option) (sdkmetric.Reader, error) {
	return promexporter.New(append(options,
		promexporter.WithRegisterer(registry),
		promexporter.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes),
		// A scope version in each series would start all series anew at each upgrade.
		promexporter.WithoutScopeInfo(),
	)...)
}

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
)

// cardinalityLimit is a tripwire: no instrument of ours comes near it, so a series with
// otel_metric_overflow="true" says that a value set is not closed.
const cardinalityLimit = 500

// meters is the meter provider and what is gathered through it; both do nothing where
// metrics are off.
type meters struct {
	provider metric.MeterProvider
	gatherer prometheus.Gatherer // nil: metrics are off
	shutdown func(context.Context) error
}

func newMeters(cfg Config, res *resource.Resource) (*meters, error) {
	if cfg.MetricsAddress == "" {
		return &meters{
			provider: noop.NewMeterProvider(),
			shutdown: func(context.Context) error { return nil },
		}, nil
	}
	gatherer, readers, err := prometheusReaders(cfg.NativeHistograms)
	if err != nil {
		return nil, fmt.Errorf("set up telemetry: make the Prometheus exporter: %w", err)
	}
	options := []sdkmetric.Option{
		sdkmetric.WithResource(res),
		sdkmetric.WithCardinalityLimit(cardinalityLimit),
	}
	for _, reader := range readers {
		options = append(options, sdkmetric.WithReader(reader))
	}
	provider := sdkmetric.NewMeterProvider(options...)
	return &meters{provider: provider, gatherer: gatherer, shutdown: provider.Shutdown}, nil
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

package telemetry

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// DurationBuckets are the bounds of every duration histogram, in seconds. A stage can take
// minutes (mkfs, a booting array), so they go on where the default buckets end.
func DurationBuckets() []float64 {
	return []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300}
}

// builder makes instruments and keeps the errors for one check at the end.
type builder struct {
	meter metric.Meter
	errs  []error
}

func (b *builder) err() error { return errors.Join(b.errs...) }

func (b *builder) counter(name, unit, description string) metric.Int64Counter {
	c, err := b.meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
	b.errs = append(b.errs, err)
	return c
}

func (b *builder) upDownCounter(name, unit, description string) metric.Int64UpDownCounter {
	c, err := b.meter.Int64UpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
	b.errs = append(b.errs, err)
	return c
}

func (b *builder) gauge(name, unit, description string) metric.Int64Gauge {
	g, err := b.meter.Int64Gauge(name, metric.WithUnit(unit), metric.WithDescription(description))
	b.errs = append(b.errs, err)
	return g
}

func (b *builder) observableGauge(name, unit, description string) metric.Int64ObservableGauge {
	g, err := b.meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description))
	b.errs = append(b.errs, err)
	return g
}

func (b *builder) observableFloatGauge(name, unit, description string) metric.Float64ObservableGauge {
	g, err := b.meter.Float64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description))
	b.errs = append(b.errs, err)
	return g
}

func (b *builder) histogram(name, description string) metric.Float64Histogram {
	h, err := b.meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description),
		metric.WithExplicitBucketBoundaries(DurationBuckets()...))
	b.errs = append(b.errs, err)
	return h
}

// adder is what a counter and an up-down counter have in common.
type adder interface {
	Add(ctx context.Context, incr int64, options ...metric.AddOption)
}

// counter counts in the series of a closed set of keys.
type counter[K comparable] struct {
	inst   adder
	series map[K][]metric.AddOption // a ready slice: building one for each call would allocate
}

func newCounter[K comparable](inst adder, keys []K, attrs func(K) []attribute.KeyValue) counter[K] {
	c := counter[K]{inst: inst, series: make(map[K][]metric.AddOption, len(keys))}
	for _, key := range keys {
		c.series[key] = []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(attrs(key)...))}
	}
	return c
}

// add tells whether key is one of the closed set; if not it counts nothing.
func (c counter[K]) add(ctx context.Context, key K, incr int64) bool {
	options, listed := c.series[key]
	if listed {
		c.inst.Add(ctx, incr, options...)
	}
	return listed
}

func (c counter[K]) startAtZero(ctx context.Context, wanted func(K) bool) {
	for key := range c.series {
		if wanted(key) {
			c.add(ctx, key, 0)
		}
	}
}

// always is startAtZero's "every key".
func always[K any](K) bool { return true }

// histogram records durations in the series of a closed set of keys.
type histogram[K comparable] struct {
	inst   metric.Float64Histogram
	series map[K][]metric.RecordOption
}

func newHistogram[K comparable](inst metric.Float64Histogram, keys []K, attrs func(K) []attribute.KeyValue) histogram[K] {
	h := histogram[K]{inst: inst, series: make(map[K][]metric.RecordOption, len(keys))}
	for _, key := range keys {
		h.series[key] = []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(attrs(key)...))}
	}
	return h
}

// record tells whether key is one of the closed set; if not it records nothing.
func (h histogram[K]) record(ctx context.Context, key K, d time.Duration) bool {
	options, listed := h.series[key]
	if listed {
		h.inst.Record(ctx, d.Seconds(), options...)
	}
	return listed
}

package export

import (
	"errors"
	"math"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
)

// nativeScale makes each bucket 9 % wider than the one before it, as client_golang does by
// default (NativeHistogramBucketFactor 1.1); nativeBuckets then reach over 20 doublings.
const (
	nativeScale   = 3
	nativeBuckets = 160
)

// nativeOnly makes histograms exponential, which the exporter turns into native ones, and leaves
// everything else to the other reader.
func nativeOnly(kind sdkmetric.InstrumentKind) sdkmetric.Aggregation {
	if kind != sdkmetric.InstrumentKindHistogram {
		return sdkmetric.AggregationDrop{}
	}
	return sdkmetric.AggregationBase2ExponentialHistogram{MaxSize: nativeBuckets, MaxScale: nativeScale, NoMinMax: true}
}

// bothHistograms gathers histograms that have classic and native buckets, which a Prometheus
// histogram may but an OpenTelemetry stream may not: one reader has these, another those.
// The text formats show the classic buckets only, so nothing changes for who reads them.
type bothHistograms struct{ classic, native prometheus.Gatherer }

// Gather implements prometheus.Gatherer. The native buckets come second, as they bring the
// count: it may be ahead of the classic buckets, never behind them.
func (b bothHistograms) Gather() ([]*dto.MetricFamily, error) {
	families, classicErr := b.classic.Gather()
	others, nativeErr := b.native.Gather()
	natives := map[string]*dto.Histogram{}
	for _, family := range others {
		for _, metric := range family.GetMetric() {
			natives[seriesKey(family, metric)] = metric.GetHistogram()
		}
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if native := natives[seriesKey(family, metric)]; native != nil {
				addNative(metric.GetHistogram(), native)
			}
		}
	}
	return families, errors.Join(classicErr, nativeErr)
}

// seriesKey relies on the registry, which sorts labels.
func seriesKey(family *dto.MetricFamily, metric *dto.Metric) string {
	var key strings.Builder
	key.WriteString(family.GetName())
	for _, label := range metric.GetLabel() {
		key.WriteString("\xff" + label.GetName() + "\xff" + label.GetValue())
	}
	return key.String()
}

func addNative(h, native *dto.Histogram) {
	h.SampleCount, h.SampleSum = native.SampleCount, native.SampleSum
	h.Schema, h.ZeroThreshold, h.ZeroCount = native.Schema, native.ZeroThreshold, native.ZeroCount
	h.PositiveSpan, h.PositiveDelta = native.PositiveSpan, native.PositiveDelta
	h.NegativeSpan, h.NegativeDelta = native.NegativeSpan, native.NegativeDelta
	h.Exemplars = native.Exemplars
	for _, bucket := range h.GetBucket() { // there only with an exemplar, else the count stands for it
		if math.IsInf(bucket.GetUpperBound(), 1) {
			bucket.CumulativeCount = native.SampleCount
		}
	}
}

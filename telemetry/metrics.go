package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// Component is the half of the driver that a process serves. It decides which counters
// are there at 0 before their first use, and labels rds_csi_build_info.
type Component string

// The components.
const (
	ComponentController Component = "controller"
	ComponentNode       Component = "node"
	ComponentBoth       Component = "both"
)

// Components lists all components.
func Components() []Component {
	return []Component{ComponentController, ComponentNode, ComponentBoth}
}

// has tells whether c serves the half that half names.
func (c Component) has(half Component) bool { return c == half || c == ComponentBoth }

// Metrics holds the driver's instruments. It is never nil: where metrics are off it is Noop().
//
// Every attribute set is made once, beforehand: a measurement costs a map lookup and the
// instrument, and cannot carry anything outside of the closed sets.
type Metrics struct {
	volume  volumeMetrics
	nvme    nvmeMetrics
	mount   mountMetrics
	stale   staleMetrics
	array   arrayMetrics
	events  counter[EventReason]
	errors  metric.Int64Counter
	build   metric.Int64Gauge
	observe func(metric.Callback, ...metric.Observable) (metric.Registration, error)
}

// NewMetrics makes all instruments on mp and starts every counter of a closed set at 0.
func NewMetrics(mp metric.MeterProvider) (*Metrics, error) {
	return NewMetricsFor(mp, ComponentBoth)
}

// NewMetricsFor is NewMetrics for one half of the driver: only what that half can count
// is there at 0. increase() misses the first event of a series that starts at 1.
func NewMetricsFor(mp metric.MeterProvider, component Component) (*Metrics, error) {
	b := &builder{meter: mp.Meter(Scope)}
	m := &Metrics{
		volume: newVolumeMetrics(b),
		nvme:   newNVMeMetrics(b),
		mount:  newMountMetrics(b),
		stale:  newStaleMetrics(b),
		array:  newArrayMetrics(b),
		events: newEventCounter(b),
		errors: b.counter("rds_csi.telemetry.errors", "{error}",
			"Errors of telemetry itself: failed exports, failed looks, values outside of the closed sets."),
		build:   b.gauge("rds_csi.build.info", "", "Always 1; which version runs."),
		observe: b.meter.RegisterCallback,
	}
	if err := b.err(); err != nil {
		return nil, err
	}
	m.startAtZero(context.Background(), component)
	return m, nil
}

func (m *Metrics) startAtZero(ctx context.Context, component Component) {
	m.errors.Add(ctx, 0)
	m.volume.startAtZero(ctx, component)
	m.events.startAtZero(ctx, func(r EventReason) bool { return r.postedBy(component) })
	if component.has(ComponentNode) {
		m.nvme.startAtZero(ctx)
		m.mount.startAtZero(ctx)
		m.stale.startAtZero(ctx)
	}
	if component.has(ComponentController) {
		m.array.startAtZero(ctx)
	}
}

// Noop gives instruments that record nothing.
func Noop() *Metrics {
	m, err := NewMetrics(noop.NewMeterProvider())
	if err != nil {
		panic(err) // the no-op provider makes every instrument
	}
	return m
}

// RecordBuild sets rds_csi_build_info.
func (m *Metrics) RecordBuild(ctx context.Context, component Component, version, revision, goVersion string) {
	m.build.Record(ctx, 1, metric.WithAttributes(
		attribute.String("component", string(component)),
		attribute.String("version", version),
		attribute.String("revision", revision),
		attribute.String("go_version", goVersion),
	))
}

// RecordTelemetryError counts an error of telemetry itself.
func (m *Metrics) RecordTelemetryError(ctx context.Context) { m.errors.Add(ctx, 1) }

// check counts a measurement that was dropped because its value is in none of the closed sets.
func (m *Metrics) check(ctx context.Context, listed bool) {
	if !listed {
		m.RecordTelemetryError(ctx)
	}
}

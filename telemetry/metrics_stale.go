package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// staleMetrics are the instruments of mounts that lost their device, and of their recovery.
type staleMetrics struct {
	detected   counter[StaleReason]
	recoveries counter[Status]
	duration   histogram[Status]
	mounts     metric.Int64ObservableGauge
	checked    metric.Float64ObservableGauge
	states     map[MountState][]metric.ObserveOption
}

func newStaleMetrics(b *builder) staleMetrics {
	s := staleMetrics{
		detected: newCounter(
			b.counter("rds_csi.stale.mounts.detected", "{mount}", "Mounts found not to be what was staged any more, by why."),
			StaleReasons(), kindAttrs[StaleReason]("reason")),
		recoveries: newCounter(
			b.counter("rds_csi.stale.recoveries", "{recovery}", "Recoveries of stale mounts that ended; skipped ones found nothing to do or the target away."),
			RecoveryStatuses(), kindAttrs[Status]("status")),
		duration: newHistogram(
			b.histogram("rds_csi.stale.recovery.duration", "How long a stale mount took to be healed, from when it was found."),
			RecoveryStatuses(), kindAttrs[Status]("status")),
		mounts: b.observableGauge("rds_csi.mounts", "{mount}",
			"Staged volumes of this node by how they are; absent while that cannot be told."),
		checked: b.observableFloatGauge("rds_csi.mount.check.time", "s",
			"When the staged volumes of this node were last looked at, in seconds since 1970."),
		states: map[MountState][]metric.ObserveOption{},
	}
	for _, state := range MountStates() {
		s.states[state] = []metric.ObserveOption{
			metric.WithAttributeSet(attribute.NewSet(attribute.String("state", string(state)))),
		}
	}
	return s
}

func (s staleMetrics) startAtZero(ctx context.Context) {
	s.detected.startAtZero(ctx, always)
	s.recoveries.startAtZero(ctx, always)
}

// RecordStaleMountDetected counts a mount that was found stale.
func (m *Metrics) RecordStaleMountDetected(ctx context.Context, reason StaleReason) {
	m.check(ctx, m.stale.detected.add(ctx, reason, 1))
}

// RecordStaleRecovery counts a recovery that ended; an error makes any status but skipped a
// failure. d is counted from when the mount was found stale.
func (m *Metrics) RecordStaleRecovery(ctx context.Context, status Status, err error, d time.Duration) {
	if err != nil && status != StatusSkipped {
		status = StatusFailure
	}
	listed := m.stale.recoveries.add(ctx, status, 1)
	m.check(ctx, listed && m.stale.duration.record(ctx, status, d))
}

// MountCheck is one look at all staged volumes of a node.
type MountCheck struct {
	At    time.Time          // of the last look that could be finished; zero before the first
	Known bool               // whether the latest look gave Count
	Count map[MountState]int // volumes by state
}

// ObserveMounts makes look the source of rds_csi_mounts and rds_csi_mount_check_time_seconds. look
// must not block. What is not known is left out.
func (m *Metrics) ObserveMounts(look func() MountCheck) error {
	_, err := m.observe(func(_ context.Context, o metric.Observer) error {
		check := look()
		if !check.At.IsZero() {
			o.ObserveFloat64(m.stale.checked, float64(check.At.UnixMilli())/1000)
		}
		if !check.Known {
			return nil
		}
		for state, options := range m.stale.states {
			o.ObserveInt64(m.stale.mounts, int64(check.Count[state]), options...)
		}
		return nil
	}, m.stale.mounts, m.stale.checked)
	return err
}

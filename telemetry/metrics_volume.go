package telemetry

import (
	"context"
	"time"
)

// volumeMetrics are the instruments of the CSI operations.
type volumeMetrics struct {
	operations counter[outcome[Operation]]
	duration   histogram[result[Operation]]
	inFlight   counter[Operation]
}

func newVolumeMetrics(b *builder) volumeMetrics {
	return volumeMetrics{
		operations: newCounter(
			b.counter("rds_csi.volume.operations", "{operation}", "Volume operations that ended, by how they ended."),
			outcomes(Operations(), Statuses(), operationReasons), outcomeAttrs[Operation]("operation")),
		duration: newHistogram(
			b.histogram("rds_csi.volume.operation.duration", "How long volume operations took; status=noop is an idempotent repeat."),
			results(Operations(), Statuses()), resultAttrs[Operation]("operation")),
		inFlight: newCounter(
			b.upDownCounter("rds_csi.volume.operations.in_flight", "{operation}", "Volume operations that run now."),
			Operations(), kindAttrs[Operation]("operation")),
	}
}

func (v volumeMetrics) startAtZero(ctx context.Context, component Component) {
	v.operations.startAtZero(ctx, func(o outcome[Operation]) bool { return component.has(o.of.component()) })
	v.inFlight.startAtZero(ctx, func(op Operation) bool { return component.has(op.component()) })
}

// StartVolumeOp counts a volume operation as in flight until the returned function is called.
func (m *Metrics) StartVolumeOp(ctx context.Context, op Operation) (done func()) {
	m.check(ctx, m.volume.inFlight.add(ctx, op, 1))
	return func() { m.volume.inFlight.add(ctx, op, -1) }
}

// RecordVolumeOp counts a finished volume operation and how long it took. An error makes
// the status StatusFailure.
func (m *Metrics) RecordVolumeOp(ctx context.Context, op Operation, status Status, err error, d time.Duration) {
	end := outcome[Operation]{of: op, status: status}
	if err != nil || status == StatusFailure {
		end = outcome[Operation]{op, StatusFailure, failure(err, operationReasons(op))}
	}
	listed := m.volume.operations.add(ctx, end, 1)
	m.check(ctx, listed && m.volume.duration.record(ctx, result[Operation]{op, end.status}, d))
}

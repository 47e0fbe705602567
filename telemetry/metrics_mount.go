package telemetry

import (
	"context"
	"time"
)

// mountMetrics are the instruments of file systems and mounts.
type mountMetrics struct {
	operations counter[result[MountOp]]
	duration   histogram[result[MountOp]]
	decisions  counter[FormatDecision]
}

func newMountMetrics(b *builder) mountMetrics {
	ends := results(MountOps(), withoutNoop())
	return mountMetrics{
		operations: newCounter(
			b.counter("rds_csi.mount.operations", "{operation}", "Steps on a file system or mount that ended, by how they ended."),
			ends, resultAttrs[MountOp]("operation")),
		duration: newHistogram(
			b.histogram("rds_csi.mount.operation.duration", "How long steps on a file system or mount took."),
			ends, resultAttrs[MountOp]("operation")),
		decisions: newCounter(
			b.counter("rds_csi.format.decisions", "{decision}", "Decisions whether to run mkfs on a device."),
			FormatDecisions(), kindAttrs[FormatDecision]("decision")),
	}
}

func (mm mountMetrics) startAtZero(ctx context.Context) {
	mm.operations.startAtZero(ctx, always)
	mm.decisions.startAtZero(ctx, always)
}

// RecordMountOp counts a step on a file system or mount.
func (m *Metrics) RecordMountOp(ctx context.Context, op MountOp, err error, d time.Duration) {
	end := result[MountOp]{op, StatusOf(err)}
	listed := m.mount.operations.add(ctx, end, 1)
	m.check(ctx, listed && m.mount.duration.record(ctx, end, d))
}

// RecordFormatDecision counts a decision whether to run mkfs.
func (m *Metrics) RecordFormatDecision(ctx context.Context, decision FormatDecision) {
	m.check(ctx, m.mount.decisions.add(ctx, decision, 1))
}

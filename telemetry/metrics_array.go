package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// arrayMetrics are the instruments of the array and the way to it.
type arrayMetrics struct {
	commands    counter[outcome[Command]]
	command     histogram[result[Command]]
	dials       counter[outcome[nothing]]
	dial        histogram[result[nothing]]
	sessionWait metric.Float64Histogram
	up          metric.Int64ObservableGauge
	refreshed   metric.Float64ObservableGauge
	capacity    metric.Int64ObservableGauge
	usage       metric.Int64ObservableGauge
	provisioned metric.Int64ObservableGauge
	volumes     metric.Int64ObservableGauge
}

func newArrayMetrics(b *builder) arrayMetrics {
	one := []nothing{{}}
	return arrayMetrics{
		commands: newCounter(
			b.counter("rds_csi.routeros.commands", "{command}", "RouterOS commands that ended, by how they ended."),
			outcomes(Commands(), withoutNoop(), commandReasons), outcomeAttrs[Command]("command")),
		command: newHistogram(
			b.histogram("rds_csi.routeros.command.duration", "How long RouterOS commands took."),
			results(Commands(), withoutNoop()), resultAttrs[Command]("command")),
		dials: newCounter(
			b.counter("rds_csi.ssh.dials", "{dial}", "SSH connection attempts, by how they ended."),
			outcomes(one, withoutNoop(), func(nothing) []fault.Reason { return dialReasons() }), bareOutcomeAttrs),
		dial: newHistogram(
			b.histogram("rds_csi.ssh.dial.duration", "How long SSH connection attempts took, handshake included."),
			results(one, withoutNoop()), bareResultAttrs),
		sessionWait: b.histogram("rds_csi.ssh.session.wait.duration", "How long commands waited for one of the bounded SSH sessions."),
		up: b.observableGauge("rds_csi.backend.up", "",
			"1 if the array answered when last asked, 0 if not; absent before the first answer."),
		refreshed: b.observableFloatGauge("rds_csi.backend.refresh.time", "s",
			"When the array last told how full it is, in seconds since 1970."),
		capacity: b.observableGauge("rds_csi.pool.capacity", "By",
			"Size of a pool's file system; absent, like its other figures, while the array does not tell."),
		usage: b.observableGauge("rds_csi.pool.usage", "By", "What of a pool is taken, by volumes and all else."),
		provisioned: b.observableGauge("rds_csi.pool.provisioned", "By",
			"Sum of the sizes of all file disks in a pool; above its capacity it is overcommitted."),
		volumes: b.observableGauge("rds_csi.volumes", "{volume}", "Volumes of this cluster on the array; orphan are those of them that have had no PersistentVolume for long, absent where that is not known."),
	}
}

func (a arrayMetrics) startAtZero(ctx context.Context) {
	a.commands.startAtZero(ctx, always)
	a.dials.startAtZero(ctx, always)
}

// RecordRouterOSCommand counts an exec on the array.
func (m *Metrics) RecordRouterOSCommand(ctx context.Context, command Command, err error, d time.Duration) {
	end := outcomeOf(command, err, commandReasons(command))
	listed := m.array.commands.add(ctx, end, 1)
	m.check(ctx, listed && m.array.command.record(ctx, result[Command]{command, end.status}, d))
}

// RecordSSHDial counts an SSH connection attempt.
func (m *Metrics) RecordSSHDial(ctx context.Context, err error, d time.Duration) {
	end := outcomeOf(nothing{}, err, dialReasons())
	m.array.dials.add(ctx, end, 1)
	m.array.dial.record(ctx, result[nothing]{status: end.status}, d)
}

// RecordSSHSessionWait records how long an exec waited for its turn.
func (m *Metrics) RecordSSHSessionWait(ctx context.Context, d time.Duration) {
	m.array.sessionWait.Record(ctx, d.Seconds())
}

// BackendCheck is what the latest look at an array gave.
type BackendCheck struct {
	Known   bool          // whether there was one
	Up      bool          // whether the array can be used
	At      time.Time     // of the last look that gave Full; zero before the first
	Full    *BackendUsage // nil: it was not told
	Orphans *int64        // how many of Full's volumes are orphans; nil: that is not known
}

// BackendUsage says how full an array is.
type BackendUsage struct {
	Pools   []PoolUsage
	Volumes int64 // of this cluster
}

// PoolUsage says how full a pool is, in bytes.
type PoolUsage struct {
	Name                         string // its mount point
	Capacity, Usage, Provisioned int64
}

// ObserveBackend makes look the source of rds_csi_backend_*, rds_csi_pool_* and rds_csi_volumes of an array.
// look must not block. What is not known is left out.
func (m *Metrics) ObserveBackend(array string, look func() BackendCheck) error {
	name := attribute.String("array", array)
	labels := metric.WithAttributeSet(attribute.NewSet(name))
	inState := func(s VolumeState) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(name, attribute.String("state", string(s))))
	}
	managed, orphan := inState(VolumeManaged), inState(VolumeOrphan)
	a := m.array
	_, err := m.observe(func(_ context.Context, o metric.Observer) error {
		check := look()
		switch {
		case !check.Known:
		case check.Up:
			o.ObserveInt64(a.up, 1, labels)
		default:
			o.ObserveInt64(a.up, 0, labels)
		}
		if !check.At.IsZero() {
			o.ObserveFloat64(a.refreshed, float64(check.At.UnixMilli())/1000, labels)
		}
		if check.Full == nil {
			return nil
		}
		o.ObserveInt64(a.volumes, check.Full.Volumes, managed)
		if check.Orphans != nil {
			o.ObserveInt64(a.volumes, *check.Orphans, orphan)
		}
		for _, p := range check.Full.Pools {
			pool := metric.WithAttributeSet(attribute.NewSet(name, attribute.String("pool", p.Name)))
			o.ObserveInt64(a.capacity, p.Capacity, pool)
			o.ObserveInt64(a.usage, p.Usage, pool)
			o.ObserveInt64(a.provisioned, p.Provisioned, pool)
		}
		return nil
	}, a.up, a.refreshed, a.capacity, a.usage, a.provisioned, a.volumes)
	return err
}

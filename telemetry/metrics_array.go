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

// ObserveBackend makes look the source of rds_csi_backend_up. look must not block;
// ok=false means not yet known and leaves the series out.
func (m *Metrics) ObserveBackend(array string, look func() (up, ok bool)) error {
	name := metric.WithAttributeSet(attribute.NewSet(attribute.String("array", array)))
	_, err := m.observe(func(_ context.Context, o metric.Observer) error {
		up, ok := look()
		switch {
		case !ok:
		case up:
			o.ObserveInt64(m.array.up, 1, name)
		default:
			o.ObserveInt64(m.array.up, 0, name)
		}
		return nil
	}, m.array.up)
	return err
}

package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// nvmeMetrics are the instruments of the NVMe/TCP host side.
type nvmeMetrics struct {
	connects    counter[outcome[nothing]]
	connect     histogram[result[nothing]]
	deviceWait  histogram[result[nothing]]
	disconnects counter[result[DisconnectReason]]
	reconnects  counter[Reconnect]
	outage      histogram[Reconnect]
	active      metric.Int64ObservableGauge
	controllers metric.Int64ObservableGauge
	states      map[ControllerState][]metric.ObserveOption
}

func newNVMeMetrics(b *builder) nvmeMetrics {
	one := []nothing{{}}
	n := nvmeMetrics{
		connects: newCounter(
			b.counter("rds_csi.nvme.connects", "{connect}", "NVMe/TCP connects that ended, by how they ended."),
			outcomes(one, withoutNoop(), func(nothing) []fault.Reason { return connectReasons() }), bareOutcomeAttrs),
		connect: newHistogram(
			b.histogram("rds_csi.nvme.connect.duration", "How long NVMe/TCP connects took."),
			results(one, withoutNoop()), bareResultAttrs),
		deviceWait: newHistogram(
			b.histogram("rds_csi.nvme.device.wait.duration", "How long the kernel took to show the block device of a connected target."),
			results(one, withoutNoop()), bareResultAttrs),
		disconnects: newCounter(
			b.counter("rds_csi.nvme.disconnects", "{disconnect}", "NVMe controllers taken down, by who asked."),
			results(DisconnectReasons(), withoutNoop()), resultAttrs[DisconnectReason]("reason")),
		reconnects: newCounter(
			b.counter("rds_csi.nvme.reconnects", "{reconnect}", "Outages of volumes in use that ended, by how: the kernel reconnected, or removed the device."),
			Reconnects(), kindAttrs[Reconnect]("status")),
		outage: newHistogram(
			b.histogram("rds_csi.nvme.outage.duration", "How long no path to a volume in use was live."),
			Reconnects(), kindAttrs[Reconnect]("status")),
		active: b.observableGauge("rds_csi.nvme.connections.active", "{connection}",
			"Live NVMe controllers of this driver, as sysfs shows them."),
		controllers: b.observableGauge("rds_csi.nvme.controllers", "{controller}",
			"NVMe controllers of this driver by state, as sysfs shows them."),
		states: map[ControllerState][]metric.ObserveOption{},
	}
	for _, state := range ControllerStates() {
		n.states[state] = []metric.ObserveOption{
			metric.WithAttributeSet(attribute.NewSet(attribute.String("state", string(state)))),
		}
	}
	return n
}

func (n nvmeMetrics) startAtZero(ctx context.Context) {
	n.connects.startAtZero(ctx, always)
	n.disconnects.startAtZero(ctx, always)
	n.reconnects.startAtZero(ctx, always)
}

// RecordNVMeConnect counts a connect to an NVMe/TCP target.
func (m *Metrics) RecordNVMeConnect(ctx context.Context, err error, d time.Duration) {
	end := outcomeOf(nothing{}, err, connectReasons())
	m.nvme.connects.add(ctx, end, 1)
	m.nvme.connect.record(ctx, result[nothing]{status: end.status}, d)
}

// RecordNVMeDeviceWait records how long the kernel took to show the block device.
func (m *Metrics) RecordNVMeDeviceWait(ctx context.Context, err error, d time.Duration) {
	m.nvme.deviceWait.record(ctx, result[nothing]{status: StatusOf(err)}, d)
}

// RecordNVMeDisconnect counts a controller taken down.
func (m *Metrics) RecordNVMeDisconnect(ctx context.Context, reason DisconnectReason, err error) {
	m.check(ctx, m.nvme.disconnects.add(ctx, result[DisconnectReason]{reason, StatusOf(err)}, 1))
}

// RecordNVMeReconnect counts the end of an outage of a volume in use.
func (m *Metrics) RecordNVMeReconnect(ctx context.Context, end Reconnect, outage time.Duration) {
	listed := m.nvme.reconnects.add(ctx, end, 1)
	m.check(ctx, listed && m.nvme.outage.record(ctx, end, outage))
}

// ObserveNVMeControllers makes last the source of rds_csi_nvme_controllers and
// rds_csi_nvme_connections_active. last gives the latest count by state and must not block;
// where it is not known the series are left out.
func (m *Metrics) ObserveNVMeControllers(last func() (count map[ControllerState]int, known bool)) error {
	_, err := m.observe(func(_ context.Context, o metric.Observer) error {
		if states, known := last(); known {
			m.nvme.report(o, states)
		}
		return nil
	}, m.nvme.active, m.nvme.controllers)
	return err
}

// report gives every state its count. A state the kernel has and we do not know is unknown.
func (n nvmeMetrics) report(o metric.Observer, states map[ControllerState]int) {
	counts := make(map[ControllerState]int, len(n.states))
	for state, count := range states {
		if _, listed := n.states[state]; !listed {
			state = ControllerUnknown
		}
		counts[state] += count
	}
	for state, options := range n.states {
		o.ObserveInt64(n.controllers, int64(counts[state]), options...)
	}
	o.ObserveInt64(n.active, int64(counts[ControllerLive]))
}

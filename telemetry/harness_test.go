package telemetry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault/faulttest"
)

// point is one series: its attributes and its value, or count for a histogram.
type point struct {
	attrs attribute.Set
	value int64
}

// collect reads every series of metrics, by instrument.
func collect(t *testing.T, reader *sdkmetric.ManualReader) map[string][]point {
	t.Helper()
	var data metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &data); err != nil {
		t.Fatalf("collect: %v", err)
	}
	points := map[string][]point{}
	for _, sm := range data.ScopeMetrics {
		for _, m := range sm.Metrics {
			points[m.Name] = append(points[m.Name], pointsOf(t, m.Data)...)
		}
	}
	return points
}

func pointsOf(t *testing.T, data metricdata.Aggregation) []point {
	t.Helper()
	var points []point
	switch data := data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range data.DataPoints {
			points = append(points, point{p.Attributes, p.Value})
		}
	case metricdata.Gauge[int64]:
		for _, p := range data.DataPoints {
			points = append(points, point{p.Attributes, p.Value})
		}
	case metricdata.Gauge[float64]:
		for _, p := range data.DataPoints {
			points = append(points, point{p.Attributes, int64(p.Value)})
		}
	case metricdata.Histogram[float64]:
		for _, p := range data.DataPoints {
			points = append(points, point{p.Attributes, int64(p.Count)})
		}
	default:
		t.Fatalf("unexpected aggregation %T", data)
	}
	return points
}

func newTestMetrics(t *testing.T, component Component) (*Metrics, *sdkmetric.ManualReader) {
	t.Helper()
	reader := sdkmetric.NewManualReader()
	m, err := NewMetricsFor(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), component)
	if err != nil {
		t.Fatalf("NewMetricsFor: %v", err)
	}
	return m, reader
}

// valueOf finds the one series of name that has exactly these attributes ("key=value").
func valueOf(t *testing.T, points map[string][]point, name string, attrs ...string) int64 {
	t.Helper()
	slices.Sort(attrs)
	for _, p := range points[name] {
		var have []string
		for _, kv := range p.attrs.ToSlice() {
			have = append(have, string(kv.Key)+"="+kv.Value.AsString())
		}
		if slices.Equal(have, attrs) {
			return p.value
		}
	}
	t.Errorf("%s has no series %v", name, attrs)
	return -1
}

// wild is an error whose ErrorType is not in the closed set.
type wild struct{}

func (wild) Error() string     { return "wild" }
func (wild) ErrorType() string { return "nqn.2000-02.com.mikrotik:csi-1" }

func allErrors() []error {
	errs := []error{nil, errors.New("plain"), wild{}, fmt.Errorf("x: %w", context.Canceled), context.DeadlineExceeded}
	for _, reason := range fault.Reasons() {
		errs = append(errs, fault.E("try", reason, errors.New("it came back")))
	}
	for _, kind := range faulttest.Kinds() {
		errs = append(errs, fault.E("try", kind, errors.New("it came back")))
	}
	return errs
}

// recordAll calls every recorder with every member of the closed sets, with an invented
// one beside them, and with every error.
func recordAll(ctx context.Context, m *Metrics) {
	for _, err := range allErrors() {
		for _, op := range append(Operations(), "format_c") {
			for _, status := range append(Statuses(), "perhaps") {
				m.RecordVolumeOp(ctx, op, status, err, time.Second)
			}
			m.StartVolumeOp(ctx, op)()
		}
		for _, reason := range append(DisconnectReasons(), "whim") {
			m.RecordNVMeDisconnect(ctx, reason, err)
		}
		for _, op := range append(MountOps(), "remount") {
			m.RecordMountOp(ctx, op, err, time.Second)
		}
		for _, command := range append(Commands(), "/system/reboot") {
			m.RecordRouterOSCommand(ctx, command, err, time.Second)
		}
		for _, status := range append(RecoveryStatuses(), "perhaps") {
			m.RecordStaleRecovery(ctx, status, err, time.Second)
		}
		m.RecordNVMeConnect(ctx, err, time.Second)
		m.RecordNVMeDeviceWait(ctx, err, time.Second)
		m.RecordSSHDial(ctx, err, time.Second)
	}
	for _, decision := range append(FormatDecisions(), "maybe") {
		m.RecordFormatDecision(ctx, decision)
	}
	for _, reason := range append(EventReasons(), "Whatever") {
		m.RecordEventPosted(ctx, reason)
	}
	for _, reason := range append(StaleReasons(), "rust") {
		m.RecordStaleMountDetected(ctx, reason)
	}
	for _, end := range append(Reconnects(), "whatever") {
		m.RecordNVMeReconnect(ctx, end, time.Second)
	}
	m.RecordSSHSessionWait(ctx, time.Second)
}

func closedSets() map[string][]string {
	return map[string][]string{
		"operation":  slices.Concat(texts(Operations()), texts(MountOps())),
		"status":     slices.Concat(texts(Statuses()), texts(RecoveryStatuses()), texts(Reconnects())),
		"error.type": texts(fault.Reasons()),
		"reason":     slices.Concat(texts(DisconnectReasons()), texts(StaleReasons()), texts(EventReasons())),
		"decision":   texts(FormatDecisions()),
		"command":    texts(Commands()),
		"state":      slices.Concat(texts(ControllerStates()), texts(MountStates()), texts([]VolumeState{VolumeManaged, VolumeOrphan})),
		"array":      {"rds"},
		"pool":       {"btrfs-1"}, // as configured
	}
}

func texts[S ~string](values []S) []string {
	var all []string
	for _, value := range values {
		all = append(all, string(value))
	}
	return all
}

package export

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// The budget of a page with every series filled (telemetry contract), for each role.
const (
	maxSeries = 2500
	maxPage   = 400_000
)

// fill makes every series a role can have.
func fill(t testing.TB, tel *Telemetry, role telemetry.Component) {
	ctx, m := t.Context(), tel.Metrics()
	errs := []error{nil}
	for _, reason := range fault.Reasons() {
		errs = append(errs, fault.E("try", reason, errors.New("no")))
	}
	for _, err := range errs {
		for _, op := range operationsOf(role) {
			for _, status := range telemetry.Statuses() {
				m.RecordVolumeOp(ctx, op, status, err, time.Second)
			}
		}
		if role == telemetry.ComponentController {
			fillArray(ctx, m, err)
		} else {
			fillNode(ctx, m, err)
		}
	}
	m.RecordSSHSessionWait(ctx, time.Second)
	if err := m.ObserveBackend("rds", fullBackend); err != nil {
		t.Fatal(err)
	}
	if err := m.ObserveNVMeControllers(func() (map[telemetry.ControllerState]int, bool) { return nil, true }); err != nil {
		t.Fatal(err)
	}
	fillRPC(t, tel, role)
}

func operationsOf(role telemetry.Component) []telemetry.Operation {
	if role == telemetry.ComponentController {
		return telemetry.Operations()[:8]
	}
	return telemetry.Operations()[8:]
}

func fillArray(ctx context.Context, m *telemetry.Metrics, err error) {
	for _, command := range telemetry.Commands() {
		m.RecordRouterOSCommand(ctx, command, err, time.Second)
	}
	m.RecordSSHDial(ctx, err, time.Second)
}

func fillNode(ctx context.Context, m *telemetry.Metrics, err error) {
	for _, op := range telemetry.MountOps() {
		m.RecordMountOp(ctx, op, err, time.Second)
	}
	for _, reason := range telemetry.DisconnectReasons() {
		m.RecordNVMeDisconnect(ctx, reason, err)
	}
	for _, decision := range telemetry.FormatDecisions() {
		m.RecordFormatDecision(ctx, decision)
	}
	m.RecordNVMeConnect(ctx, err, time.Second)
	m.RecordNVMeDeviceWait(ctx, err, time.Second)
}

// rpcCodes are the codes that design.md §7 and the CSI spec let a call of a role end with.
func rpcCodes(role telemetry.Component) map[string]string {
	everywhere := map[string]string{
		"csi.v1.Identity/Probe": "OK", "csi.v1.Identity/GetPluginInfo": "OK", "csi.v1.Identity/GetPluginCapabilities": "OK",
	}
	if role == telemetry.ComponentNode {
		everywhere["csi.v1.Node/NodeGetInfo"] = "OK"
		everywhere["csi.v1.Node/NodeGetCapabilities"] = "OK"
		everywhere["csi.v1.Node/NodeGetVolumeStats"] = "OK INVALID_ARGUMENT NOT_FOUND DEADLINE_EXCEEDED INTERNAL UNAVAILABLE"
		const node = "OK INVALID_ARGUMENT NOT_FOUND ABORTED FAILED_PRECONDITION UNAVAILABLE DEADLINE_EXCEEDED CANCELLED INTERNAL DATA_LOSS OUT_OF_RANGE"
		for _, method := range []string{"NodeStageVolume", "NodeUnstageVolume", "NodePublishVolume", "NodeUnpublishVolume", "NodeExpandVolume"} {
			everywhere["csi.v1.Node/"+method] = node
		}
		return everywhere
	}
	const look = "OK INVALID_ARGUMENT UNAVAILABLE FAILED_PRECONDITION DEADLINE_EXCEEDED"
	const change = look + " ABORTED INTERNAL"
	for method, codes := range map[string]string{
		"ControllerGetCapabilities": "OK", "CreateVolume": change + " ALREADY_EXISTS OUT_OF_RANGE RESOURCE_EXHAUSTED NOT_FOUND",
		"DeleteVolume": change, "ControllerPublishVolume": change + " NOT_FOUND", "ControllerUnpublishVolume": change,
		"ControllerExpandVolume":     change + " OUT_OF_RANGE RESOURCE_EXHAUSTED NOT_FOUND",
		"ValidateVolumeCapabilities": look + " NOT_FOUND", "ControllerGetVolume": look + " NOT_FOUND", "ListVolumes": look + " ABORTED", "GetCapacity": look,
	} {
		everywhere["csi.v1.Controller/"+method] = codes
	}
	return everywhere
}

func fillRPC(t testing.TB, tel *Telemetry, role telemetry.Component) {
	duration, err := tel.meters.provider.Meter("rpc").Float64Histogram("rpc.server.call.duration", metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(telemetry.DurationBuckets()...))
	if err != nil {
		t.Fatal(err)
	}
	for method, list := range rpcCodes(role) {
		for code := range strings.FieldsSeq(list) {
			duration.Record(t.Context(), 1, metric.WithAttributes(
				attribute.String("rpc.method", method), attribute.String("rpc.response.status_code", code),
				attribute.String("rpc.system.name", "grpc"), attribute.String("error.type", code)))
		}
	}
}

func TestAFullPageStaysWithinTheBudget(t *testing.T) {
	for _, role := range []telemetry.Component{telemetry.ComponentController, telemetry.ComponentNode} {
		t.Run(string(role), func(t *testing.T) {
			setEnv(t)
			tel, _ := setup(t, Config{Component: string(role), MetricsAddress: "127.0.0.1:0"})
			fill(t, tel, role)
			_, page := get(t, serve(t, tel), "text/plain")
			series := 0
			for line := range strings.Lines(page) {
				if !strings.HasPrefix(line, "#") {
					series++
				}
			}
			t.Logf("%d series, %d bytes", series, len(page))
			if series > maxSeries || len(page) > maxPage {
				t.Errorf("%d series in %d bytes, budget %d in %d", series, len(page), maxSeries, maxPage)
			}
			if strings.Contains(page, "otel_metric_overflow") {
				t.Error("an instrument hit the cardinality limit")
			}
		})
	}
}

func TestTheCardinalityLimitIsATripwire(t *testing.T) {
	setEnv(t)
	tel, _ := setup(t, Config{MetricsAddress: "127.0.0.1:0"})
	leak, err := tel.meters.provider.Meter("test").Int64Counter("leak")
	if err != nil {
		t.Fatal(err)
	}
	for i := range cardinalityLimit + 10 {
		leak.Add(t.Context(), 1, metric.WithAttributes(attribute.Int("id", i)))
	}
	if _, page := get(t, serve(t, tel), "text/plain"); !strings.Contains(page, `leak_total{otel_metric_overflow="true"}`) {
		t.Error("no overflow series")
	}
}

func BenchmarkScrape(b *testing.B) {
	setEnv(b)
	tel, _ := setup(b, Config{Component: "controller", MetricsAddress: "127.0.0.1:0"})
	fill(b, tel, telemetry.ComponentController)
	url := serve(b, tel)
	for b.Loop() {
		get(b, url, "text/plain")
	}
}

package nvme_test

import (
	"context"
	"slices"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme/nvmetest"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

func TestConnectAndDisconnectAreTracedAndCounted(t *testing.T) {
	reader := metric.NewManualReader()
	metrics, err := telemetry.NewMetrics(metric.NewMeterProvider(metric.WithReader(reader)))
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, nvmetest.Options{Multipath: true}, func(c *nvme.Config) { c.Metrics = metrics })
	recorder := tracetest.NewSpanRecorder()
	ctx, root := telemetry.NewTracer(trace.NewTracerProvider(trace.WithSpanProcessor(recorder))).StartRoot(t.Context(), "root")
	if _, err := r.host.Connect(ctx, r.target); err != nil {
		t.Fatal(err)
	}
	if err := r.disconnect(ctx); err != nil {
		t.Fatal(err)
	}
	r.Unexport(volume)
	_, err = r.host.Connect(ctx, r.target)
	wantReason(t, err, fault.NVMeDenied)
	root.End(nil)

	want := []string{
		"nvme.predial < nvme.connect", "nvme.connect < root", "nvme.device.wait < root", "nvme.disconnect < root",
		"nvme.predial < nvme.connect", "nvme.connect < root error.type=nvme_denied", "root < ",
	}
	if got := tree(recorder.Ended()); !slices.Equal(got, want) {
		t.Errorf("spans\n%q\nwant\n%q", got, want)
	}
	attrs := attribute.NewSet(recorder.Ended()[1].Attributes()...)
	for key, want := range map[attribute.Key]string{"rds_csi.nvme.nqn": volume, "rds_csi.nvme.controller": "nvme0", "server.address": "127.0.0.1", "rds_csi.attempt": "1", "network.transport": "tcp"} {
		if got, _ := attrs.Value(key); got.String() != want {
			t.Errorf("%s is %q, want %q", key, got.String(), want)
		}
	}
	for name, want := range map[string]int64{"rds_csi.nvme.connects": 2, "rds_csi.nvme.disconnects": 1, "rds_csi.nvme.device.wait.duration": 1} {
		if got := total(t, reader, name); got != want {
			t.Errorf("%s counted %d, want %d", name, got, want)
		}
	}
}

// tree renders ended spans as "name < parent", with the error.type of failed ones.
func tree(spans []trace.ReadOnlySpan) []string {
	names := map[string]string{}
	for _, s := range spans {
		names[s.SpanContext().SpanID().String()] = s.Name()
	}
	var lines []string
	for _, s := range spans {
		line := s.Name() + " < " + names[s.Parent().SpanID().String()]
		attrs := attribute.NewSet(s.Attributes()...)
		if reason, failed := attrs.Value("error.type"); failed {
			line += " error.type=" + reason.AsString()
		}
		lines = append(lines, line)
	}
	return lines
}

func total(t *testing.T, reader metric.Reader, name string) (n int64) {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name != name {
				continue
			}
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					n += p.Value
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					n += int64(p.Count)
				}
			}
		}
	}
	return n
}

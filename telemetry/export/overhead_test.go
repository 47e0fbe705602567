package export

import (
	"context"
	"testing"
	"time"

	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// The budgets of the telemetry contract: allocations that a unary call may have beyond those of
// a bare server. They do not depend on the machine, so they are the gate; the benchmark
// gives the times.
const (
	maxAllocsUnsampled = 110
	maxAllocsSampled   = 200
)

// instrumented does in a call what the driver does: one operation, three attributes on the
// call's span, six steps with two attributes each, and what they record.
func instrumented(m *telemetry.Metrics) func(context.Context) error {
	steps := []string{"volume.lock", "nvme.connect", "nvme.predial", "nvme.device.wait", "fs.probe", "mount"}
	return func(ctx context.Context) error {
		done := m.StartVolumeOp(ctx, telemetry.OpStage)
		defer done()
		telemetry.Annotate(ctx, telemetry.VolumeID("rds/csi-1"), telemetry.PluginName("rds.csi.srvlab.io"), telemetry.OperationAttr(telemetry.OpStage))
		for _, name := range steps {
			_, step := telemetry.Start(ctx, name, telemetry.Internal, telemetry.Device("/dev/nvme0n1"), telemetry.FilesystemType("ext4"))
			step.End(nil)
		}
		m.RecordNVMeConnect(ctx, nil, time.Millisecond)
		m.RecordNVMeDeviceWait(ctx, nil, time.Millisecond)
		m.RecordMountOp(ctx, telemetry.MountOpMount, nil, time.Millisecond)
		m.RecordFormatDecision(ctx, telemetry.FormatAlready)
		m.RecordVolumeOp(ctx, telemetry.OpStage, telemetry.StatusSuccess, nil, time.Millisecond)
		return nil
	}
}

// stageCall gives a function that makes one NodeStageVolume: against a bare server, or with metrics on
// and every call sampled or none.
func stageCall(t testing.TB, sampler sdktrace.Sampler) func() {
	t.Helper()
	server, options := csiServer{}, []grpc.ServerOption{}
	if sampler != nil {
		setEnv(t)
		tel, _ := setup(t, Config{MetricsAddress: "127.0.0.1:0"})
		traces := sdktrace.NewTracerProvider(sdktrace.WithBatcher(tracetest.NewNoopExporter()), sdktrace.WithSampler(newSampler(sampler)))
		t.Cleanup(func() { _ = traces.Shutdown(context.Background()) })
		server.stage = instrumented(tel.Metrics())
		options = append(options, telemetry.ServerOption(traces, tel.meters.provider, propagation.TraceContext{}))
	}
	client := csi.NewNodeClient(dialCSI(t, server, options...))
	ctx, req := t.Context(), &csi.NodeStageVolumeRequest{VolumeId: "rds/csi-1"}
	return func() {
		if _, err := client.NodeStageVolume(ctx, req); err != nil {
			t.Error(err)
		}
	}
}

func TestACallAllocatesWithinTheBudget(t *testing.T) {
	const runs = 300
	bare := testing.AllocsPerRun(runs, stageCall(t, nil))
	for _, tt := range []struct {
		name    string
		sampler sdktrace.Sampler
		budget  float64
	}{
		{"not sampled", sdktrace.NeverSample(), maxAllocsUnsampled},
		{"sampled with six steps", sdktrace.AlwaysSample(), maxAllocsSampled},
	} {
		extra := testing.AllocsPerRun(runs, stageCall(t, tt.sampler)) - bare
		t.Logf("%s: %.0f allocations beyond the %.0f of a bare server, budget %.0f", tt.name, extra, bare, tt.budget)
		if extra > tt.budget {
			t.Errorf("%s: %.0f extra allocations, budget %.0f", tt.name, extra, tt.budget)
		}
	}
}

func BenchmarkCall(b *testing.B) {
	for name, sampler := range map[string]sdktrace.Sampler{
		"bare": nil, "not sampled": sdktrace.NeverSample(), "sampled": sdktrace.AlwaysSample(),
	} {
		b.Run(name, func(b *testing.B) {
			call := stageCall(b, sampler)
			b.ReportAllocs()
			for b.Loop() {
				call()
			}
		})
	}
}

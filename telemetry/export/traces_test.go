package export

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc/metadata"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

const (
	stageSpan   = "csi.v1.Node/NodeStageVolume"
	traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
)

// stage is a NodeStageVolume as the driver would trace it.
func stage(ctx context.Context) error {
	telemetry.Annotate(ctx, telemetry.VolumeID("rds/csi-1"), telemetry.Mountpoint(strings.Repeat("x", 1000)))
	telemetry.Link(ctx, "00-11111111111111111111111111111111-2222222222222222-01")
	below, connect := telemetry.Start(ctx, "nvme.connect", telemetry.Client)
	_, predial := telemetry.Start(below, "nvme.predial", telemetry.Client)
	predial.End(nil)
	err := fault.E("connect", fault.NVMeDenied, errors.New("refused"))
	connect.End(err)
	telemetry.Fail(ctx, err)
	return nil
}

// callStage makes one NodeStageVolume through a server with tel's options; the server has stopped when it
// returns, so that all is recorded.
func callStage(t *testing.T, tel *Telemetry, ctx context.Context) {
	t.Helper()
	t.Run("call", func(t *testing.T) {
		conn := dialCSI(t, csiServer{stage: stage}, tel.ServerOption())
		if _, err := csi.NewNodeClient(conn).NodeStageVolume(ctx, &csi.NodeStageVolumeRequest{}); err != nil {
			t.Error(err)
		}
		if _, err := csi.NewIdentityClient(conn).Probe(ctx, &csi.ProbeRequest{}); err != nil {
			t.Error(err)
		}
	})
}

func TestTracesReachAnOTLPReceiverWithTheLastBatchAtShutdown(t *testing.T) {
	tests := []struct {
		name string
		env  func(t *testing.T, r *receiver) []string
	}{
		{"grpc", func(t *testing.T, r *receiver) []string {
			return []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + r.serveGRPC(t, "127.0.0.1:0"), "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}
		}},
		{"http by default", func(t *testing.T, r *receiver) []string {
			return []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + r.serveHTTP(t)}
		}},
		{"traces endpoint as it is", func(t *testing.T, r *receiver) []string {
			return []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=" + r.serveHTTP(t) + "/v1/traces", "OTEL_TRACES_EXPORTER=otlp"}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &receiver{}
			setEnv(t, append(tt.env(t, r), "OTEL_SERVICE_NAME=from-env", "OTEL_RESOURCE_ATTRIBUTES=k8s.node.name=n1")...)
			tel, logs := setup(t, Config{Service: "rds-csi-node", Version: "v1.2.3"})
			callStage(t, tel, metadata.AppendToOutgoingContext(t.Context(), "traceparent", traceparent))
			if len(r.spans()) != 0 {
				t.Error("the spans were there before Shutdown: the test says nothing of the last batch")
			}
			if err := tel.Shutdown(t.Context()); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			checkStageTrace(t, r.spans())
			resource := r.resource()
			if resource["service.name"] != "from-env" || resource["service.version"] != "v1.2.3" || resource["k8s.node.name"] != "n1" ||
				resource["service.instance.id"] == "" {
				t.Errorf("resource %v", resource)
			}
			if warned := logs.FilterLevelExact(1).All(); len(warned) != 0 {
				t.Errorf("warnings: %v", warned)
			}
		})
	}
}

func checkStageTrace(t *testing.T, spans map[string]*tracepb.Span) {
	t.Helper()
	root, connect, predial := spans[stageSpan], spans["nvme.connect"], spans["nvme.predial"]
	if root == nil || connect == nil || predial == nil {
		t.Fatalf("spans %v", spans)
	}
	if len(spans) != 3 {
		t.Errorf("%d spans, want 3: Probe is dropped", len(spans))
	}
	if got := root.GetTraceId(); !slices.Equal(got, predial.GetTraceId()) || got[0] != 0x0a {
		t.Errorf("trace id %x: not the caller's", got)
	}
	if !slices.Equal(predial.GetParentSpanId(), connect.GetSpanId()) || !slices.Equal(connect.GetParentSpanId(), root.GetSpanId()) {
		t.Error("the spans do not form the tree")
	}
	if root.GetStatus().GetCode() != tracepb.Status_STATUS_CODE_ERROR || connect.GetStatus().GetCode() != tracepb.Status_STATUS_CODE_ERROR {
		t.Error("the failed steps are not marked")
	}
	if len(root.GetLinks()) != 1 || root.GetLinks()[0].GetTraceId()[0] != 0x11 {
		t.Errorf("links %v", root.GetLinks())
	}
	attrs := map[string]string{}
	for _, kv := range root.GetAttributes() {
		attrs[kv.GetKey()] = kv.GetValue().GetStringValue()
	}
	if attrs["container.csi.volume.id"] != "rds/csi-1" || attrs["error.type"] != "nvme_denied" || len(attrs["system.filesystem.mountpoint"]) != 256 {
		t.Errorf("attributes %v", attrs)
	}
}

func TestTheGRPCPortWithoutAProtocolMeansGRPC(t *testing.T) {
	r := &receiver{}
	endpoint := r.serveGRPC(t, "127.43.17.1:4317") // beside a collector that this machine may run
	setEnv(t, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+endpoint)
	tel, logs := setup(t, Config{})
	callStage(t, tel, t.Context())
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if r.spans()[stageSpan] == nil {
		t.Error("no span arrived")
	}
	warned := logs.FilterLevelExact(1).All()
	if len(warned) != 1 || !strings.Contains(warned[0].Message, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc") {
		t.Errorf("warnings %v, want one that names the setting", warned)
	}
}

func TestTracesAreOffUnlessAskedForRightly(t *testing.T) {
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1"
	tests := []struct {
		name string
		env  []string
		on   bool
		warn string // in a log line's message or error
	}{
		{"nothing set", nil, false, ""},
		{"empty is unset", []string{"OTEL_EXPORTER_OTLP_ENDPOINT= "}, false, ""},
		{"endpoint alone", []string{endpoint}, true, ""},
		{"exporter alone", []string{"OTEL_TRACES_EXPORTER=otlp"}, true, ""},
		{"none", []string{"OTEL_TRACES_EXPORTER=none", endpoint}, false, ""},
		{"disabled", []string{"OTEL_SDK_DISABLED=TRUE", endpoint}, false, ""},
		{"not disabled", []string{"OTEL_SDK_DISABLED=false", endpoint}, true, ""},
		{"unknown exporter", []string{"OTEL_TRACES_EXPORTER=zipkin"}, false, "OTEL_TRACES_EXPORTER=zipkin"},
		{"unknown protocol", []string{endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL=http/json"}, false, "use grpc or http/protobuf"},
		{"no URL", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=127.0.0.1:4318"}, false, "not a URL"},
		{"no scheme", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318"}, false, "http://"},
		{"no host", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://"}, false, "no host"},
		{"gRPC takes its own targets", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=unix:///run/otlp.sock", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, true, ""},
		{"unknown sampler", []string{endpoint, "OTEL_TRACES_SAMPLER=often"}, false, "OTEL_TRACES_SAMPLER=often"},
		{"bad ratio", []string{endpoint, "OTEL_TRACES_SAMPLER_ARG=50%"}, false, "OTEL_TRACES_SAMPLER_ARG=50%"},
		{"ratio above 1", []string{endpoint, "OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG=2"}, false, "between 0 and 1"},
		{"ratio that is no number", []string{endpoint, "OTEL_TRACES_SAMPLER_ARG=NaN"}, false, "between 0 and 1"},
		{"bad propagators", []string{"OTEL_PROPAGATORS=smoke-signals"}, false, "OTEL_PROPAGATORS"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			setEnv(t, tt.env...)
			tel, logs := setup(t, Config{})
			ctx, span := tel.Tracer().StartRoot(t.Context(), "x")
			defer span.End(nil)
			if on := telemetry.TraceParent(ctx) != ""; on != tt.on {
				t.Errorf("traces on: %v, want %v", on, tt.on)
			}
			var said []string
			for _, entry := range logs.FilterLevelExact(1).All() {
				said = append(said, entry.Message)
				for _, value := range entry.ContextMap() {
					said = append(said, fmt.Sprint(value))
				}
			}
			all := strings.Join(said, "\n")
			if (tt.warn == "") != (all == "") || !strings.Contains(all, tt.warn) {
				t.Errorf("warned %q, want %q", all, tt.warn)
			}
		})
	}
}

func TestPropagatorsOfTheEnvironment(t *testing.T) {
	const b3 = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1"
	for _, tt := range []struct {
		setting string
		header  []string
		joined  bool
	}{
		{"", []string{"traceparent", traceparent}, true},
		{"b3", []string{"traceparent", traceparent}, false},
		{"b3 , tracecontext", []string{"b3", b3}, true},
		{"none", []string{"traceparent", traceparent}, false},
	} {
		setEnv(t, "OTEL_PROPAGATORS="+tt.setting)
		collect := NewCollector()
		tel, _ := setup(t, Config{Collect: collect})
		callStage(t, tel, metadata.AppendToOutgoingContext(t.Context(), tt.header...))
		if _, joined := collect.Trace("0af7651916cd43dd8448eb211c80319c"); joined != tt.joined {
			t.Errorf("OTEL_PROPAGATORS=%q with %v: joined %v, want %v", tt.setting, tt.header, joined, tt.joined)
		}
	}
}

func TestChattyCallsAreDroppedButMetered(t *testing.T) {
	setEnv(t)
	collect := NewCollector()
	tel, _ := setup(t, Config{Collect: collect, MetricsAddress: "127.0.0.1:0"})
	callStage(t, tel, t.Context())
	trace, err := collect.Await(t.Context(), stageSpan)
	if err != nil || len(trace.steps) != 3 {
		t.Errorf("the stage's trace: %+v, %v", trace, err)
	}
	if len(collect.spans) != 3 {
		t.Errorf("%d spans kept, want 3", len(collect.spans))
	}
	family := scrape(t, serve(t, tel))["rpc_server_call_duration_seconds"]
	methods := labelValues(family)["rpc_method"]
	if !methods["csi.v1.Identity/Probe"] || !methods[stageSpan] {
		t.Errorf("metered %v", methods)
	}
	if got := len(family.Metric[0].GetHistogram().GetBucket()); got != len(telemetry.DurationBuckets())+1 {
		t.Errorf("%d buckets", got)
	}
}

func TestExemplarsLeadFromMetricsToTraces(t *testing.T) {
	setEnv(t)
	tel, _ := setup(t, Config{Collect: NewCollector(), MetricsAddress: "127.0.0.1:0"})
	ctx, span := tel.Tracer().StartRoot(t.Context(), "mount.recovery")
	tel.Metrics().RecordVolumeOp(ctx, telemetry.OpStage, telemetry.StatusSuccess, nil, time.Second)
	span.End(nil)
	id := strings.Split(telemetry.TraceParent(ctx), "-")[1]
	code, page := get(t, serve(t, tel), "application/openmetrics-text;version=1.0.0")
	if code != 200 || !strings.HasSuffix(page, "# EOF\n") {
		t.Fatalf("not OpenMetrics: %d", code)
	}
	for _, name := range []string{"rds_csi_volume_operations_total", "rds_csi_volume_operation_duration_seconds_bucket"} {
		found := false
		for line := range strings.Lines(page) {
			found = found || strings.HasPrefix(line, name) && strings.Contains(line, `trace_id="`+id+`"`)
		}
		if !found {
			t.Errorf("no exemplar on %s", name)
		}
	}
	if strings.Contains(page, "otel_scope") {
		t.Error("scope labels on the page")
	}
}

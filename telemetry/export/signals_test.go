package export

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// asked are the two signals that only their own variable switches on.
func asked(more ...string) []string {
	return append([]string{"OTEL_METRICS_EXPORTER=otlp", "OTEL_LOGS_EXPORTER=otlp"}, more...)
}

// live makes one of each signal: a recovery, its metric, and a line about it.
func live(t *testing.T, tel *Telemetry) (traceID string) {
	t.Helper()
	ctx, span := tel.Tracer().StartRoot(t.Context(), "mount.recovery")
	tel.Metrics().RecordStaleRecovery(ctx, telemetry.StatusSuccess, nil, time.Second)
	tel.Logger().Info("mounts recovered", append(telemetry.LogFields(ctx), zap.String("volume_id", "rds/csi-1"))...)
	tel.Logger().With(telemetry.LogFields(ctx)...).Warn("stale mount", zap.Error(errors.New("gone")))
	tel.Logger().Debug("sysfs was read")
	span.End(nil)
	return trace.SpanContextFromContext(ctx).TraceID().String()
}

func TestAllSignalsReachAnOTLPReceiverAtShutdown(t *testing.T) {
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
		{"each its own endpoint and protocol", func(t *testing.T, r *receiver) []string {
			return []string{
				"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + r.serveGRPC(t, "127.0.0.1:0"), "OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
				"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=" + r.serveHTTP(t) + "/v1/metrics", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL=http/protobuf",
				"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=" + r.serveHTTP(t) + "/v1/logs", "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL=http/protobuf",
			}
		}},
		{"a socket", func(t *testing.T, r *receiver) []string {
			path := filepath.Join(t.TempDir(), "otlp.sock")
			r.serveGRPC(t, path)
			return []string{"OTEL_EXPORTER_OTLP_ENDPOINT=unix://" + path, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &receiver{}
			setEnv(t, asked(tt.env(t, r)...)...)
			tel, logs := setup(t, Config{Service: "rds-csi-node", MetricsAddress: "127.0.0.1:0"})
			id := live(t, tel)
			if len(r.metrics())+len(r.lines())+len(r.spans()) != 0 {
				t.Error("something was there before Shutdown: the test says nothing of the last batch")
			}
			if err := tel.Shutdown(t.Context()); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			checkLines(t, r.lines(), id)
			counted := r.metrics()["rds_csi.stale.recoveries"].GetSum().GetDataPoints()
			if !slices.ContainsFunc(counted, func(p *metricspb.NumberDataPoint) bool { return p.GetAsInt() == 1 }) {
				t.Errorf("recoveries: %v of %d metrics", counted, len(r.metrics()))
			}
			if r.spans()["mount.recovery"] == nil {
				t.Error("no span")
			}
			for what, attrs := range map[string]map[string]string{"metrics": r.metricsResource(), "logs": r.logsResource()} {
				if attrs["service.name"] != "rds-csi-node" || attrs["service.instance.id"] != r.resource()["service.instance.id"] {
					t.Errorf("resource of the %s: %v", what, attrs)
				}
			}
			if warned := logs.FilterLevelExact(zapcore.WarnLevel).FilterMessageSnippet("OTLP").All(); len(warned) != 0 {
				t.Errorf("warnings: %v", warned)
			}
		})
	}
}

// checkLines wants the two lines of live, in the trace, and everything that was in them.
func checkLines(t *testing.T, lines map[string]*logspb.LogRecord, traceID string) {
	t.Helper()
	for text, want := range map[string]struct {
		severity       logspb.SeverityNumber
		key, value     string
		attributeCount int
	}{
		"mounts recovered": {logspb.SeverityNumber_SEVERITY_NUMBER_INFO, "volume_id", "rds/csi-1", 1},
		"stale mount":      {logspb.SeverityNumber_SEVERITY_NUMBER_WARN, "exception.message", "gone", 2},
	} {
		record := lines[text]
		if record == nil {
			t.Errorf("%q did not arrive: %v", text, lines)
			continue
		}
		attrs := map[string]string{}
		for _, kv := range record.GetAttributes() {
			attrs[kv.GetKey()] = kv.GetValue().GetStringValue()
		}
		if attrs[want.key] != want.value || len(attrs) != want.attributeCount || record.GetSeverityNumber() != want.severity {
			t.Errorf("%q: severity %v, attributes %v", text, record.GetSeverityNumber(), attrs)
		}
		if got := hex.EncodeToString(record.GetTraceId()); got != traceID || len(record.GetSpanId()) != 8 || record.GetFlags() != 1 {
			t.Errorf("%q: trace %s, span %x, flags %x; want trace %s", text, got, record.GetSpanId(), record.GetFlags(), traceID)
		}
	}
}

func TestOTLPLogsHaveTheLevelOfTheLog(t *testing.T) {
	for _, level := range []zapcore.Level{zap.DebugLevel, zap.WarnLevel} {
		r := &receiver{}
		setEnv(t, "OTEL_LOGS_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_ENDPOINT="+r.serveHTTP(t), "OTEL_TRACES_EXPORTER=none")
		core, _ := observer.New(level)
		tel, err := Setup(t.Context(), Config{Component: "node", Log: zap.New(core)})
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []zapcore.Level{zap.DebugLevel, zap.InfoLevel, zap.WarnLevel, zap.ErrorLevel} {
			tel.Logger().Named("driver").Log(at, at.String())
		}
		if err := tel.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		for _, at := range []zapcore.Level{zap.DebugLevel, zap.InfoLevel, zap.WarnLevel, zap.ErrorLevel} {
			if arrived := r.lines()[at.String()] != nil; arrived != (at >= level) {
				t.Errorf("log level %v: a line of level %v arrived: %v", level, at, arrived)
			}
		}
	}
}

func TestOTLPMetricsArePushedAtTheIntervalAlsoWithoutAnAddress(t *testing.T) {
	r := &receiver{}
	setEnv(t, "OTEL_METRICS_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_ENDPOINT="+r.serveHTTP(t), "OTEL_METRIC_EXPORT_INTERVAL=5",
		"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION=base2_exponential_bucket_histogram", "OTEL_TRACES_EXPORTER=none")
	tel, _ := setup(t, Config{})
	live(t, tel)
	failedCall(t, tel)
	await(t, "the call's metric", func() bool { return r.metrics()["rpc.server.call.duration"] != nil })
	for _, name := range []string{"rpc.server.call.duration", "rds_csi.stale.recovery.duration"} {
		if len(r.metrics()[name].GetExponentialHistogram().GetDataPoints()) == 0 {
			t.Errorf("%s is not exponential: %v", name, r.metrics()[name])
		}
	}
	if len(r.lines()) != 0 {
		t.Errorf("log lines that nobody asked for: %v", r.lines())
	}
}

func TestMetricsAndLogsAreOffUnlessAskedForRightly(t *testing.T) {
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1"
	tests := []struct {
		name string
		env  []string
		on   bool
		warn []string // each in the message or error of one warning
	}{
		{"nothing set", nil, false, nil},
		{"an endpoint alone", []string{endpoint}, false, nil},
		{"an endpoint of their own", []string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=http://127.0.0.1:1"}, false, nil},
		{"asked for", asked(endpoint), true, nil},
		{"asked for without an endpoint", asked(), true, nil},
		{"none", []string{endpoint, "OTEL_METRICS_EXPORTER=none", "OTEL_LOGS_EXPORTER=none"}, false, nil},
		{"empty", []string{endpoint, "OTEL_METRICS_EXPORTER= ", "OTEL_LOGS_EXPORTER="}, false, nil},
		{"disabled", asked(endpoint, "OTEL_SDK_DISABLED=True"), false, nil},
		{"unknown exporter", []string{endpoint, "OTEL_METRICS_EXPORTER=prometheus", "OTEL_LOGS_EXPORTER=console"}, false,
			[]string{"OTEL_METRICS_EXPORTER=prometheus: use otlp or none", "OTEL_LOGS_EXPORTER=console: use otlp or none"}},
		{"unknown protocol", asked("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL=http/json", "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL=smoke"), false,
			[]string{"http/json: use grpc", "smoke: use grpc"}},
		{"no scheme", asked("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=collector:4318", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=collector:4318"), false,
			[]string{"OTLP metrics are off", "OTLP logs are off"}},
		{"the gRPC port", asked("OTEL_EXPORTER_OTLP_ENDPOINT=http://127.43.17.2:4317", "OTEL_TRACES_EXPORTER=otlp"), true,
			[]string{"set OTEL_EXPORTER_OTLP_PROTOCOL=grpc to say so"}},
		{"an interval that is no number", asked(endpoint, "OTEL_METRIC_EXPORT_INTERVAL=soon"), true, []string{"OpenTelemetry setting"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			setEnv(t, tt.env...)
			tel, logs := setup(t, Config{})
			if _, off := tel.meters.provider.(noop.MeterProvider); off == tt.on {
				t.Errorf("metrics off: %v, on wanted: %v", off, tt.on)
			}
			if on := fmt.Sprintf("%T", tel.Logger().Core()) == "zapcore.multiCore"; on != tt.on {
				t.Errorf("logs on: %v, want %v", on, tt.on)
			}
			warned := logs.FilterLevelExact(zapcore.WarnLevel).All()
			if len(warned) != len(tt.warn) {
				t.Fatalf("warnings %v, want %q", warned, tt.warn)
			}
			for i, entry := range warned {
				if line := fmt.Sprint(entry.Message, entry.ContextMap()); !strings.Contains(line, tt.warn[i]) {
					t.Errorf("warned %q, want %q", line, tt.warn[i])
				}
			}
		})
	}
}

// A line about a failed export must not become the next export.
func TestTelemetrysOwnLinesStayHere(t *testing.T) {
	r := &receiver{}
	setEnv(t, "OTEL_LOGS_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT="+r.serveHTTP(t)+"/v1/logs",
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://"+refusing(t), "OTEL_BSP_SCHEDULE_DELAY=1")
	tel, logs := setup(t, Config{})
	live(t, tel)
	await(t, "the failed export's line", func() bool { return logs.FilterMessage("telemetry error").Len() > 0 })
	_ = tel.Shutdown(t.Context())
	if lines := r.lines(); lines["mounts recovered"] == nil || lines["telemetry error"] != nil {
		t.Errorf("received %v", lines)
	}
}

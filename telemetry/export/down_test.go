package export

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// A collector that is down: nothing is slower, stopping is bounded, and the log stays quiet.
func TestAnUnreachableCollectorCostsNothingButItsTelemetry(t *testing.T) {
	for _, protocol := range []string{protocolGRPC, protocolHTTP} {
		for name, address := range map[string]func(*testing.T) string{"refused": refusing, "black hole": blackHole} {
			t.Run(protocol+" "+name, func(t *testing.T) {
				setEnv(t, asked("OTEL_EXPORTER_OTLP_ENDPOINT=http://"+address(t), "OTEL_EXPORTER_OTLP_PROTOCOL="+protocol,
					"OTEL_BSP_SCHEDULE_DELAY=5", "OTEL_BLRP_SCHEDULE_DELAY=5", "OTEL_METRIC_EXPORT_INTERVAL=5")...)
				start := time.Now()
				tel, logs := setup(t, Config{MetricsAddress: "127.0.0.1:0"})
				within(t, "Setup", start, time.Second)

				start = time.Now()
				for i := range 5000 { // more than the queue holds
					ctx, root := tel.Tracer().StartRoot(t.Context(), "x")
					_, step := telemetry.Start(ctx, fmt.Sprint("step ", i), telemetry.Internal)
					step.End(nil)
					root.End(nil)
					tel.Logger().Info("step", zap.Int("number", i))
				}
				within(t, "10,000 spans and 5,000 lines", start, 5*time.Second)
				callStage(t, tel, t.Context())
				start = time.Now()
				if scrape(t, serve(t, tel))["rpc_server_call_duration_seconds"] == nil {
					t.Error("the page lacks the call")
				}
				within(t, "a scrape", start, time.Second)

				start = time.Now()
				err := tel.Shutdown(t.Context())
				within(t, "Shutdown", start, 5*time.Second)
				t.Logf("Shutdown: %v", err)
				if lines := logs.FilterMessage("telemetry error"); lines.Len() > 1 {
					t.Errorf("%d log lines, want at most one a minute: %v", lines.Len(), lines.All())
				}
			})
		}
	}
}

func within(t *testing.T, what string, start time.Time, limit time.Duration) {
	t.Helper()
	if took := time.Since(start); took > limit {
		t.Errorf("%s took %v, limit %v", what, took, limit)
	}
}

func TestFailedExportsAreCounted(t *testing.T) {
	setEnv(t, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+refusing(t), "OTEL_BSP_SCHEDULE_DELAY=1")
	tel, logs := setup(t, Config{MetricsAddress: "127.0.0.1:0"})
	url := serve(t, tel)
	await(t, "three failed exports", func() bool {
		_, span := tel.Tracer().StartRoot(t.Context(), "x")
		span.End(nil)
		return scrape(t, url)["rds_csi_telemetry_errors_total"].Metric[0].GetCounter().GetValue() >= 3
	})
	if lines := logs.FilterMessage("telemetry error").All(); len(lines) != 1 {
		t.Errorf("log lines %v, want one", lines)
	}
}

// gRPC quotes a target that it cannot reach, with all that is in it.
func TestAPasswordInAnEndpointIsNeverLogged(t *testing.T) {
	const secret = "c4n4ry-passw0rd"
	for _, scheme := range []string{"http://", "hppts://", "dns:///", ""} {
		setEnv(t, asked("OTEL_EXPORTER_OTLP_ENDPOINT="+scheme+"user:"+secret+"@"+refusing(t), "OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
			"OTEL_BSP_SCHEDULE_DELAY=1", "OTEL_BLRP_SCHEDULE_DELAY=1", "OTEL_METRIC_EXPORT_INTERVAL=1")...)
		tel, logs := setup(t, Config{})
		callStage(t, tel, t.Context())
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		err := tel.Shutdown(ctx)
		cancel()
		if strings.Contains(fmt.Sprint(err), secret) {
			t.Errorf("%q: Shutdown says %v", scheme, err)
		}
		for _, entry := range logs.All() {
			if line := fmt.Sprint(entry.Message, entry.ContextMap()); strings.Contains(line, secret) {
				t.Errorf("%q: logged %s", scheme, line)
			}
		}
	}
}

// The exporters quote a header that they cannot read.
func TestOTLPHeadersAreNeverLogged(t *testing.T) {
	const secret = "c4n4ry-t0ken"
	for _, header := range []string{
		"authorization=Bearer%20" + secret, secret, "authorization=%zz" + secret, "bad key" + secret + "=x",
		"authorization=" + secret + "\x01",
	} {
		for _, protocol := range []string{protocolGRPC, protocolHTTP} {
			setEnv(t, asked("OTEL_EXPORTER_OTLP_ENDPOINT=http://user:"+secret+"@"+refusing(t), "OTEL_EXPORTER_OTLP_PROTOCOL="+protocol,
				"OTEL_EXPORTER_OTLP_HEADERS="+header, "OTEL_BSP_SCHEDULE_DELAY=1", "OTEL_BLRP_SCHEDULE_DELAY=1", "OTEL_METRIC_EXPORT_INTERVAL=1")...)
			tel, logs := setup(t, Config{})
			callStage(t, tel, t.Context())
			live(t, tel)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			err := tel.Shutdown(ctx)
			cancel()
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("%s, header %q: Shutdown says %v", protocol, header, err)
			}
			for _, entry := range logs.All() {
				if line := fmt.Sprint(entry.Message, entry.ContextMap()); strings.Contains(line, secret) {
					t.Errorf("%s, header %q: logged %s", protocol, header, line)
				}
			}
		}
	}
}

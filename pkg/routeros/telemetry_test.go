package routeros

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"golang.org/x/crypto/ssh"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// traced gives a context below a recorded root span.
func traced(t *testing.T) (context.Context, *tracetest.SpanRecorder) {
	t.Helper()
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	ctx, root := provider.Tracer("test").Start(t.Context(), "csi call")
	t.Cleanup(func() { root.End() })
	return ctx, spans
}

func ended(spans *tracetest.SpanRecorder) map[string][]sdktrace.ReadOnlySpan {
	byName := map[string][]sdktrace.ReadOnlySpan{}
	for _, s := range spans.Ended() {
		byName[s.Name()] = append(byName[s.Name()], s)
	}
	return byName
}

func attr(s sdktrace.ReadOnlySpan, key string) string {
	for _, a := range s.Attributes() {
		if string(a.Key) == key {
			return a.Value.String()
		}
	}
	return ""
}

func TestSpansOfARun(t *testing.T) {
	s := newServer(t)
	begun, let := make(chan struct{}, 10), make(chan struct{})
	healthy := s.reply
	s.reply = func(conn, exec int, text string, channel io.ReadWriter) {
		begun <- struct{}{}
		<-let
		healthy(conn, exec, text, channel)
	}
	c := s.start().client()
	ctx, spans := traced(t)
	done := make(chan error, 2)
	run := func() { _, err := get(ctx, c); done <- err }
	go run()
	<-begun
	go run()
	poll(t, "the second waits", func() bool {
		return slices.ContainsFunc(spans.Started(), func(s sdktrace.ReadWriteSpan) bool { return s.Name() == "ssh.session.wait" })
	})
	close(let)
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	got := ended(spans)
	for name, want := range map[string]int{"ssh.dial": 1, "ssh.session.wait": 1, "routeros disk_get": 2} {
		if len(got[name]) != want {
			t.Fatalf("%d spans %s, want %d: %v", len(got[name]), name, want, got)
		}
		for _, span := range got[name] {
			if attr(span, "server.address") != "127.0.0.1" || !strings.HasSuffix(s.listener.Addr().String(), ":"+attr(span, "server.port")) {
				t.Errorf("%s has peer %s:%s", name, attr(span, "server.address"), attr(span, "server.port"))
			}
			for _, a := range span.Attributes() {
				if strings.Contains(a.Value.String(), "BODYTEXT") {
					t.Errorf("command text in %s: %v", name, a)
				}
			}
		}
	}
	exec := got["routeros disk_get"][0]
	if attr(exec, "rds_csi.routeros.command") != "disk_get" || attr(exec, "rds_csi.attempt") != "1" || len(attr(exec, "rds_csi.routeros.reply.size")) < 2 {
		t.Errorf("attributes %v", exec.Attributes())
	}
}

func TestSpansTellARetryFromAFailure(t *testing.T) {
	s := newServer(t)
	s.onOpen = func(_, session int, offered ssh.NewChannel) bool {
		if session == 2 {
			_ = offered.Reject(ssh.ResourceShortage, "stuck")
		}
		return session != 2
	}
	c := s.start().client()
	mustGet(t, c)
	ctx, spans := traced(t)
	if _, err := get(ctx, c); err != nil {
		t.Fatal(err)
	}
	execs := ended(spans)["routeros disk_get"]
	if len(execs) != 2 {
		t.Fatalf("%d attempts", len(execs))
	}
	if execs[0].Status().Code != codes.Error || attr(execs[0], "error.type") != "ssh_unreachable" || attr(execs[0], "rds_csi.attempt") != "1" {
		t.Errorf("first attempt: %v %v", execs[0].Status(), execs[0].Attributes())
	}
	if execs[1].Status().Code == codes.Error || attr(execs[1], "rds_csi.attempt") != "2" {
		t.Errorf("second attempt: %v %v", execs[1].Status(), execs[1].Attributes())
	}
}

func TestMetricsOfRuns(t *testing.T) {
	reader := metric.NewManualReader()
	metrics, err := telemetry.NewMetrics(metric.NewMeterProvider(metric.WithReader(reader)))
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t)
	healthy := s.reply
	s.reply = func(conn, exec int, text string, channel io.ReadWriter) {
		if exec != 2 {
			healthy(conn, exec, text, channel)
		}
	}
	c := s.start().client(func(c *Config) { c.Metrics = metrics })
	mustGet(t, c)
	if _, err := get(t.Context(), c); err == nil {
		t.Fatal("a lost reply is no error")
	}
	s.cut()
	mustGet(t, c) // a stale connection is no failed command
	stranger := s.client(func(c *Config) { c.Metrics, c.KeyFile = metrics, keyFile(t, ed25519Key(t)) })
	if _, err := get(t.Context(), stranger); err == nil {
		t.Fatal("a stranger was let in")
	}
	want := map[string]int64{
		"rds_csi.routeros.commands disk_get success ":                    2,
		"rds_csi.routeros.commands disk_get failure routeros_lost_reply": 1,
		"rds_csi.routeros.commands disk_get failure ssh_auth":            1,
		"rds_csi.ssh.dials  success ":                                    2,
		"rds_csi.ssh.dials  failure ssh_auth":                            1,
		"rds_csi.ssh.session.wait.duration   ":                           4,
	}
	got := counts(t, reader)
	for series, n := range want {
		if got[series] != n {
			t.Errorf("%q = %d, want %d", series, got[series], n)
		}
	}
	for series, n := range got {
		if want[series] == 0 && n > 0 && !strings.Contains(series, ".duration") {
			t.Errorf("%q = %d", series, n)
		}
	}
}

// counts are the values of counters and the counts of histograms, by name and attributes.
func counts(t *testing.T, reader metric.Reader) map[string]int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var data metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &data); err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch points := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range points.DataPoints {
					got[series(m.Name, p.Attributes)] = p.Value
				}
			case metricdata.Histogram[float64]:
				for _, p := range points.DataPoints {
					got[series(m.Name, p.Attributes)] = int64(p.Count)
				}
			}
		}
	}
	return got
}

func series(name string, attrs attribute.Set) string {
	parts := []string{name}
	for _, key := range []attribute.Key{"command", "status", "error.type"} {
		value, _ := attrs.Value(key)
		parts = append(parts, value.AsString())
	}
	return strings.Join(parts, " ")
}

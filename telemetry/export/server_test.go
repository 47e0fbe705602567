package export

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"
)

func base(url string) string { return strings.TrimSuffix(url, "/metrics") }

func TestHealthSaysWhetherAndWhyNot(t *testing.T) {
	setEnv(t)
	ok, why := true, ""
	tel, _ := setup(t, Config{MetricsAddress: "127.0.0.1:0", Ready: func() (bool, string) { return ok, why }})
	url := base(serve(t, tel))
	check := func(path string, wantCode int, wantBody string) {
		t.Helper()
		if code, body := get(t, url+path, ""); code != wantCode || body != wantBody {
			t.Errorf("%s: %d %q, want %d %q", path, code, body, wantCode, wantBody)
		}
	}
	check("/livez", 200, "ok\n")
	check("/readyz", 200, "ok\n")
	ok, why = false, "the array rds cannot be reached"
	check("/livez", 200, "ok\n")
	check("/readyz", 503, "the array rds cannot be reached\n")
	if code, _ := get(t, url+"/debug/pprof/", ""); code != 404 {
		t.Errorf("pprof without its flag: %d", code)
	}
}

func TestPprofBehindItsFlag(t *testing.T) {
	setEnv(t)
	tel, _ := setup(t, Config{MetricsAddress: "127.0.0.1:0", Pprof: true})
	url := base(serve(t, tel))
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap?debug=1", "/debug/pprof/cmdline"} {
		if code, _ := get(t, url+path, ""); code != 200 {
			t.Errorf("%s: %d", path, code)
		}
	}
	if code, _ := get(t, url+"/readyz", ""); code != 200 {
		t.Errorf("readyz without a Ready: %d", code)
	}
}

func TestAnAddressThatIsTakenIsTriedAgain(t *testing.T) {
	setEnv(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	tel, logs := setup(t, Config{MetricsAddress: taken.Addr().String()})
	tel.Start(t.Context())
	await(t, "the failure's log line", func() bool { return logs.FilterLevelExact(zapcore.ErrorLevel).Len() > 0 })
	if url := tel.MetricsURL(); url != "" {
		t.Errorf("URL %s before anything is bound", url)
	}
	taken.Close()
	await(t, "the listener", func() bool { return tel.MetricsURL() != "" })
	if code, _ := get(t, tel.MetricsURL(), ""); code != 200 {
		t.Errorf("scrape: %d", code)
	}
	line := logs.FilterLevelExact(zapcore.ErrorLevel).All()[0]
	if !strings.Contains(line.Message, "--metrics-address") || line.ContextMap()["address"] != taken.Addr().String() {
		t.Errorf("log line %q %v names neither flag nor address", line.Message, line.ContextMap())
	}
}

func TestShutdownEndsTheAttemptsToBind(t *testing.T) {
	setEnv(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	tel, _ := setup(t, Config{MetricsAddress: taken.Addr().String()})
	tel.Start(t.Context())
	start := time.Now()
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	within(t, "Shutdown", start, 500*time.Millisecond)
}

func TestMetricsStayUpWhileTheProcessStops(t *testing.T) {
	setEnv(t)
	tel, _ := setup(t, Config{MetricsAddress: "127.0.0.1:0"})
	ctx, stop := context.WithCancel(t.Context())
	tel.Start(ctx)
	await(t, "the listener", func() bool { return tel.MetricsURL() != "" })
	url := tel.MetricsURL()
	stop() // SIGTERM: calls that run are still finishing
	if families := scrape(t, url); families["rds_csi_build_info"] == nil {
		t.Error("no metrics after the signal")
	}
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if tel.MetricsURL() != "" {
		t.Error("a URL after Shutdown")
	}
	if conn, err := net.Dial("tcp", strings.TrimPrefix(base(url), "http://")); err == nil {
		conn.Close()
		t.Error("still listening after Shutdown")
	}
}

func TestWithoutAnAddressNothingIsServedOrRecorded(t *testing.T) {
	setEnv(t)
	tel, _ := setup(t, Config{})
	tel.Start(t.Context())
	tel.Metrics().RecordSSHSessionWait(t.Context(), time.Second)
	callStage(t, tel, t.Context())
	if tel.MetricsURL() != "" || tel.meters.gatherer != nil {
		t.Error("metrics are on")
	}
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAnUnknownComponentIsRefused(t *testing.T) {
	setEnv(t)
	if _, err := Setup(t.Context(), Config{Component: "sidecar"}); err == nil || !strings.Contains(err.Error(), `"sidecar"`) {
		t.Errorf("error %v", err)
	}
}

func TestTheURLOfAWildcardAddressWorks(t *testing.T) {
	for address, want := range map[string]string{
		"0.0.0.0:9809": "http://127.0.0.1:9809/metrics", "[::]:9809": "http://127.0.0.1:9809/metrics",
		"192.0.2.1:9809": "http://192.0.2.1:9809/metrics", "[::1]:9809": "http://[::1]:9809/metrics",
	} {
		addr, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if got := metricsURL("http", addr); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}

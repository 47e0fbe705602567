package export

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// request asks for a level as curl does, over a real connection.
func request(t *testing.T, method, url, contentType, body string) (code int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(text.String())
}

func newLevel(t *testing.T) *telemetry.LogLevel {
	t.Helper()
	level, err := telemetry.NewLogLevel("info")
	if err != nil {
		t.Fatal(err)
	}
	return level
}

func TestTheLogLevelByHTTP(t *testing.T) {
	setEnv(t)
	tel, logs := setup(t, Config{MetricsAddress: "127.0.0.1:0", LogLevel: newLevel(t)})
	url := base(serve(t, tel)) + "/loglevel"
	const form, asJSON = "application/x-www-form-urlencoded", "application/json"
	for _, step := range []struct {
		method, contentType, body string
		code                      int
		answer                    string
		lines                     int // about the level, all so far
	}{
		{"GET", "", "", 200, `{"level":"info"}`, 0},
		{"PUT", asJSON, `{"level":"debug"}`, 200, `{"level":"debug"}`, 1},
		{"PUT", form, "level=error", 200, `{"level":"error"}`, 2},
		{"PUT", form, "level=error", 200, `{"level":"error"}`, 2},
		{"PUT", asJSON, `{"level":"loud"}`, 400, "", 2},
		{"PUT", asJSON, `{"level":"fatal"}`, 400, "", 2}, // would silence errors
		{"PUT", asJSON, `{}`, 400, "", 2},
		{"PUT", form, "", 400, "", 2},
		{"PUT", asJSON, `{"level":"` + strings.Repeat(" ", maxLevelBody) + `debug"}`, 400, "", 2},
		{"POST", asJSON, `{"level":"debug"}`, 405, "", 2},
		{"GET", "", "", 200, `{"level":"error"}`, 2},
	} {
		code, answer := request(t, step.method, url, step.contentType, step.body)
		if code != step.code || step.answer != "" && answer != step.answer {
			t.Errorf("%s %.40s: %d %s, want %d %s", step.method, step.body, code, answer, step.code, step.answer)
		}
		if got := logs.FilterMessageSnippet("the log level is now").Len(); got != step.lines {
			t.Errorf("%s %.40s: %d lines so far, want %d", step.method, step.body, got, step.lines)
		}
	}
	by := logs.FilterMessage("the log level is now debug").All()[0].ContextMap()["by"].(string)
	if !strings.HasPrefix(by, "PUT /loglevel from 127.0.0.1:") {
		t.Errorf("by %q", by)
	}
}

func TestTheLogLevelIsForLoopbackOnly(t *testing.T) {
	for remote, allowed := range map[string]bool{
		"127.0.0.1:40000": true, "127.8.9.1:40000": true, "[::1]:40000": true, "[::ffff:127.0.0.1]:40000": true,
		"192.0.2.7:40000": false, "[2001:db8::7]:40000": false, "[::ffff:192.0.2.7]:40000": false, "10.0.0.1:80": false, "": false, "@": false,
	} {
		for method, want := range map[string]string{"GET": "info", "PUT": "debug"} {
			req := httptest.NewRequest(method, "/loglevel", strings.NewReader(`{"level":"debug"}`))
			req.RemoteAddr = remote
			req.Header.Set("X-Forwarded-For", "127.0.0.1")
			answer := httptest.NewRecorder()
			logLevelHandler(newLevel(t), zap.NewNop()).ServeHTTP(answer, req)
			if ok := answer.Code == 200 && strings.Contains(answer.Body.String(), want); ok != allowed || !ok && answer.Code != 403 {
				t.Errorf("%s from %q: %d %s", method, remote, answer.Code, answer.Body)
			}
		}
	}
}

// A connection from another address of this machine is not from loopback: the real thing, where there is one.
func TestTheLogLevelOverARealConnectionFromElsewhere(t *testing.T) {
	address := ownAddress(t)
	setEnv(t)
	tel, _ := setup(t, Config{MetricsAddress: net.JoinHostPort(address, "0"), LogLevel: newLevel(t)})
	url := base(serve(t, tel))
	if code, answer := request(t, "PUT", url+"/loglevel", "application/json", `{"level":"debug"}`); code != 403 || !strings.Contains(answer, "loopback") {
		t.Errorf("from %s: %d %s", address, code, answer)
	}
	if code, _ := get(t, url+"/metrics", ""); code != 200 {
		t.Errorf("metrics from %s: %d", address, code)
	}
}

func ownAddress(t *testing.T) string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range addrs {
		if ip, ok := addr.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
			return ip.IP.String()
		}
	}
	t.Skip("this machine has loopback only")
	return ""
}

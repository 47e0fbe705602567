package rdssim

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestControlOverHTTP(t *testing.T) {
	a := start(t, Options{})
	volume(t, a, "one")
	volume(t, a, "two")
	quiet(t, a, `/disk set one nvme-tcp-export=yes nvme-tcp-server-nqn=nqn.one nvme-tcp-server-allow-host-name=nqn.h`)
	server := httptest.NewServer(a.ControlHandler())
	defer server.Close()
	tests := []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", "/faults", `{"kind":"no_space","match":"one","count":-1}`, 204, ""},
		{"POST", "/faults", `{"kind":"explode"}`, 400, `fault kind "explode" is not one of`},
		{"POST", "/faults", `{`, 400, "unexpected EOF"},
		{"DELETE", "/faults", "", 204, ""},
		{"POST", "/exec", ":put hello", 200, "hello\r\n"},
		{"GET", "/may-connect?nqn=nqn.one&host=nqn.h", "", 200, `{"may_connect":true}`},
		{"GET", "/may-connect?nqn=nqn.one&host=nqn.x", "", 200, `{"may_connect":false}`},
		{"GET", "/may-connect?nqn=nqn.none&host=nqn.h", "", 200, `{"may_connect":false}`},
		{"DELETE", "/files/one", "", 204, ""},
		{"DELETE", "/items/one", "", 204, ""},
		{"DELETE", "/items/one", "", 400, `no file disk with slot "one"`},
		{"DELETE", "/items/storage-pool", "", 400, "no file disk"},
		{"POST", "/reboot?down=-1s", "", 400, "negative"},
		{"POST", "/reboot?down=1ms", "", 204, ""},
		{"GET", "/nothing", "", 404, ""},
	}
	for _, tt := range tests {
		status, body := request(t, tt.method, server.URL+tt.path, tt.body)
		if status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s %s: %d %q, want %d %q", tt.method, tt.path, status, body, tt.status, tt.want)
		}
	}
	_, body := request(t, "GET", server.URL+"/state", "")
	var state State
	if err := json.Unmarshal([]byte(body), &state); err != nil {
		t.Fatal(err)
	}
	if state.Version != "7.24.4" || len(state.Items) != 2 || state.Items[1].Slot != "two" || state.Items[1].Size != 1<<30 {
		t.Errorf("state %+v", state)
	}
}

func request(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	return resp.StatusCode, string(text)
}

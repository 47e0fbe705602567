package export

import (
	"strings"
	"testing"
)

// An endpoint may hold a password: no error says any of it.
func FuzzEndpoint(f *testing.F) {
	for _, seed := range []string{
		"", "http://collector:4318", "https://user:hunter2@collector:4318", "collector:4317", "127.0.0.1:4317", "unix:///run/otlp.sock",
		"http://", "://hunter2", "http://[::1", "http://host:port", "\x7f", "%zz",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, endpoint string) {
		for _, protocol := range []string{protocolGRPC, protocolHTTP} {
			err := checkEndpoint(protocol, endpoint)
			if err == nil && protocol == protocolHTTP && endpoint != "" && !strings.HasPrefix(strings.ToLower(endpoint), "http") {
				t.Errorf("HTTP to %q", endpoint)
			}
			if err != nil && len(endpoint) > 30 && strings.Contains(err.Error(), endpoint) {
				t.Errorf("the error quotes %q", endpoint)
			}
		}
	})
}

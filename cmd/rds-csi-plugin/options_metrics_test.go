package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

func TestMetricsFlagsThatDoNotFit(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.pem")
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--metrics-tls-cert=a.pem"}, exitUsage, "--metrics-tls-key is missing"},
		{[]string{"--metrics-tls-key=a.pem"}, exitUsage, "--metrics-tls-cert is missing"},
		{[]string{"--metrics-address=", "--metrics-tls-cert=a.pem", "--metrics-tls-key=a.pem"}, exitUsage, "--metrics-address is empty"},
		{[]string{"--metrics-address=", "--pprof"}, exitUsage, "leave --pprof out"},
		{[]string{"--metrics-tls-cert=" + missing, "--metrics-tls-key=" + missing}, exitFailed, "open " + missing},
	} {
		var stderr bytes.Buffer
		args := append([]string{"--node", "--node-id=n1", "--cluster-id=c1", "--plugin-dir=" + t.TempDir(), "--metrics-address=127.0.0.1:0"}, tt.args...)
		code := start(t.Context(), args, noEnvironment, &bytes.Buffer{}, &stderr)
		if code != tt.code || !strings.Contains(stderr.String(), tt.says) {
			t.Errorf("%v: exit code %d, %q; want %d and %q", tt.args, code, stderr.String(), tt.code, tt.says)
		}
	}
}

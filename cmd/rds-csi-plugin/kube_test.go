package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
)

const clusterUIDOfTest = "2f1c1a52-5c1f-4c09-a5a4-5d7a3b0c9d11"

// apiServer answers every request with answer, and is named by a kubeconfig.
func apiServer(t *testing.T, answer http.HandlerFunc) (kubeconfig string) {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return kubeconfigOf(t, s.URL)
}

func kubeconfigOf(t *testing.T, url string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := `{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c"}}],
"clusters":[{"name":"c","cluster":{"server":"` + url + `"}}]}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func kubeSystem(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/api/v1/namespaces/kube-system" {
		http.Error(w, r.URL.Path, http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"kube-system","uid":"` + clusterUIDOfTest + `"}}`))
}

func away(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "away", http.StatusServiceUnavailable)
}

// findCluster finds the cluster id of a node that keeps its files in dir.
func findCluster(t *testing.T, o *options, kubeconfig string) error {
	t.Helper()
	o.kubeconfig = kubeconfig
	api, err := openKube(o, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if api != nil {
		defer api.Close()
	}
	return o.findCluster(t.Context(), api, zap.NewNop())
}

func TestTheClusterIDIsKeptForAStartWithoutTheAPIServer(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "plugin")
	for _, api := range []http.HandlerFunc{kubeSystem, away} {
		o := &options{node: true, pluginDir: dir}
		if err := findCluster(t, o, apiServer(t, api)); err != nil || o.clusterID != clusterUIDOfTest {
			t.Errorf("cluster id %q, %v", o.clusterID, err)
		}
	}
	o := &options{node: true, pluginDir: dir}
	if err := os.WriteFile(filepath.Join(dir, "cluster-id"), []byte("of another cluster\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := findCluster(t, o, apiServer(t, away)); err == nil {
		t.Errorf("cluster id %q was taken from a file that has none", o.clusterID)
	}
	if err := findCluster(t, o, apiServer(t, kubeSystem)); err != nil || o.keptCluster() != clusterUIDOfTest {
		t.Errorf("kept is %q, %v", o.keptCluster(), err)
	}
}

func TestAClusterIDThatIsGivenNeedsNoAPIServer(t *testing.T) {
	o := &options{node: true, clusterID: "mine", pluginDir: t.TempDir()}
	if err := findCluster(t, o, apiServer(t, away)); err != nil || o.clusterID != "mine" || o.keptCluster() != "" {
		t.Errorf("cluster id %q, kept %q, %v", o.clusterID, o.keptCluster(), err)
	}
}

func TestWithoutAClusterIDTheDriverDoesNotStart(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for name, tt := range map[string]struct {
		args []string
		env  string
		code int
		says string
	}{
		"nothing there":        {nil, "", exitUsage, "--cluster-id is missing: give the UID"},
		"away":                 {[]string{"--kubeconfig=" + apiServer(t, away)}, "", exitFailed, "or give --cluster-id"},
		"no UID":               {[]string{"--kubeconfig=" + apiServer(t, http.NotFound)}, "", exitFailed, "or give --cluster-id"},
		"no kubeconfig":        {[]string{"--kubeconfig=/nonexistent/kubeconfig"}, "", exitUsage, "--kubeconfig: read the kubeconfig /nonexistent"},
		"no service account":   {nil, "192.0.2.1", exitUsage, "--cluster-id is missing: give the UID"},
		"given, bad":           {[]string{"--cluster-id=a b"}, "", exitUsage, `--cluster-id "a b"`},
		"given, no kubeconfig": {[]string{"--cluster-id=c1", "--kubeconfig=/nonexistent/kubeconfig"}, "", exitUsage, "--kubeconfig: read the kubeconfig /nonexistent"},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			getenv := func(key string) string {
				if key == "KUBERNETES_SERVICE_HOST" {
					return tt.env
				}
				return ""
			}
			args := append([]string{"--node", "--node-id=n1", "--plugin-dir=" + t.TempDir(), "--metrics-address=", "--log-level=error"}, tt.args...)
			code := start(t.Context(), args, getenv, &bytes.Buffer{}, &stderr)
			if code != tt.code || !strings.Contains(stderr.String(), tt.says) || strings.Count(stderr.String(), "\n") != 1 {
				t.Errorf("exit code %d, %q; want %d and %q", code, stderr.String(), tt.code, tt.says)
			}
		})
	}
}

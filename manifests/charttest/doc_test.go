// Package charttest checks the Helm chart with Helm itself: that it renders to objects that Kubernetes' own types
// take, that these hang together, that wrong values are refused with a sentence, and that what is made from the chart
// (golden files, manifests/plain, docs/reference/chart.md) and what the chart has copies of is up to date.
//
// UPDATE_GOLDEN=1 go test ./manifests/charttest writes all that is made. HELM names another helm to test with.
package charttest

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// helmVersion is built once and kept. It is no requirement of the module: 200 others would come with it.
const helmVersion = "helm.sh/helm/v4/cmd/helm@v4.3.1"

const (
	chart     = "../chart"
	release   = "rds-csi-driver"
	namespace = "rds-csi"
	// kubernetes is given to Helm, which takes one of its own where it was built without a version.
	kubernetes = "1.37.0"
)

// helm runs Helm, as a user would.
func helm(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), helmPath(t), args...)
	home := t.TempDir()
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

func helmPath(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("HELM"); path != "" {
		return path
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	_, version, _ := strings.Cut(helmVersion, "@")
	path := filepath.Join(cache, "rds-csi-driver", "helm-"+version, "helm")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	install(t, path)
	return path
}

// install builds Helm beside its place and moves it there, so that nobody runs half of it.
func install(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), "build-")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "install", "-trimpath", helmVersion)
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "CGO_ENABLED=0", "GOFLAGS=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("build %s: %v\n%s", helmVersion, err, out)
	}
	if err := errors.Join(os.Rename(filepath.Join(dir, "helm"), path), os.RemoveAll(dir)); err != nil {
		t.Fatal(err)
	}
}

// render is what Helm makes of the chart.
func render(t *testing.T, args ...string) string {
	t.Helper()
	out, errs, err := helm(t, append([]string{"template", release, chart, "--namespace", namespace, "--kube-version", kubernetes}, args...)...)
	if err != nil {
		t.Fatalf("helm template %v: %v\n%s", args, err, errs)
	}
	return out
}

// valueSets are the files of testdata/values by name.
func valueSets(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("testdata/values/*.yaml")
	if err != nil || len(paths) < 5 {
		t.Fatalf("found %v: %v", paths, err)
	}
	sets := map[string]string{}
	for _, path := range paths {
		sets[strings.TrimSuffix(filepath.Base(path), ".yaml")] = path
	}
	return sets
}

// each runs a test on what every value set renders to.
func each(t *testing.T, test func(t *testing.T, o objects)) {
	t.Helper()
	for name, path := range valueSets(t) {
		t.Run(name, func(t *testing.T) { test(t, decode(t, render(t, "--values", path))) })
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

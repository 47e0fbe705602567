package house_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const environmentPage = "docs/reference/telemetry-environment.md"

var variable = regexp.MustCompile(`OTEL_[A-Z_]+`)

// readers are the modules that read OTEL_* variables for us.
func readers() []string {
	return []string{
		"go.opentelemetry.io/otel/sdk", "go.opentelemetry.io/otel/sdk/log", "go.opentelemetry.io/otel/sdk/metric",
		"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc",
		"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc",
		"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc",
		"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc",
		"go.opentelemetry.io/contrib/exporters/autoexport", "go.opentelemetry.io/contrib/propagators/autoprop",
	}
}

// variablesIn are the OTEL_* names in the Go files below dir, beside tests.
func variablesIn(t *testing.T, dir string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		data, err := os.ReadFile(name)
		for _, found := range variable.FindAllString(string(data), -1) {
			if !strings.HasSuffix(found, "_") { // the first part of a name that is put together
				names[found] = true
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// The page must not promise what nobody reads, nor keep quiet about what we read ourselves.
func TestTelemetryEnvironmentIsWhatIsRead(t *testing.T) {
	out, err := exec.Command("go", append([]string{"list", "-m", "-f", "{{.Dir}}"}, readers()...)...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	ours := variablesIn(t, "telemetry/export")
	known := variablesIn(t, "telemetry/export")
	for dir := range strings.FieldsSeq(string(out)) {
		for name := range variablesIn(t, dir) {
			known[name] = true
		}
	}
	listed := map[string]bool{}
	for _, title := range []string{"## What is sent", "## Where to", "## Traces", "## Metrics", "## Logs"} {
		for _, row := range rows(t, environmentPage, title) {
			listed[row[0]] = true
			if !known[row[0]] {
				t.Errorf("%s lists %s, which neither we nor the SDK read", environmentPage, row[0])
			}
		}
	}
	for name := range ours {
		if !listed[name] {
			t.Errorf("telemetry/export reads %s, which %s does not list", name, environmentPage)
		}
	}
	if len(listed) < 30 || len(ours) < 8 {
		t.Errorf("only %d listed and %d read by us: the page or the sources were not understood", len(listed), len(ours))
	}
}

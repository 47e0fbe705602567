// Package monitoring checks what is shipped for Prometheus and Grafana: that it parses, that the parts agree with
// each other, and that it speaks of metrics which the driver has.
//
// Sources are rules.yaml, *.test.yaml, dashboards/*.json, the monitors and scrape-config.yaml. Made from
// them (UPDATE_GOLDEN=1 go test) are prometheusrule.yaml and dashboards.yaml.
package monitoring

import (
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// decode parses a YAML file. A key that into has no place for is a mistake.
func decode(t *testing.T, path string, into any) {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(read(t, path)))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// indent moves every line that is not empty to the right.
func indent(text, by string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		if line != "\n" {
			out.WriteString(by)
		}
		out.WriteString(line)
	}
	return out.String()
}

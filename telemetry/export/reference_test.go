package export

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// TestMetricsReference compares the table of docs/reference/metrics.md with what is scraped, or writes it
// anew (UPDATE_GOLDEN=1).
func TestMetricsReference(t *testing.T) {
	setEnv(t)
	tel, _ := setup(t, Config{Component: string(telemetry.ComponentBoth), MetricsAddress: "127.0.0.1:0"})
	url := serve(t, tel)
	recordOnce(t, tel.Metrics(), telemetry.ComponentBoth)
	failedCall(t, tel)
	await(t, "the call's metric", func() bool { return scrape(t, url)["rpc_server_call_duration_seconds"] != nil })
	const path, begin, end = "../../docs/reference/metrics.md", "<!-- generated: metrics -->\n", "<!-- end -->"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, found := strings.Cut(string(data), begin)
	_, tail, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no %q … %q", path, begin, end)
	}
	want := head + begin + metricsTable(scrape(t, url)) + end + tail
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(data) != want {
		t.Errorf("%s differs (UPDATE_GOLDEN=1 go test writes it):\n%s", path, diff(string(data), want))
	}
}

// metricsTable has the families of our own.
func metricsTable(families map[string]*dto.MetricFamily) string {
	table := "| Name | Type | Labels | |\n|---|---|---|---|\n"
	for _, name := range slices.Sorted(maps.Keys(families)) {
		if !strings.HasPrefix(name, "rds_csi_") && !strings.HasPrefix(name, "rpc_") {
			continue
		}
		var labels []string
		for _, label := range slices.Sorted(maps.Keys(labelValues(families[name]))) {
			labels = append(labels, "`"+label+"`")
		}
		table += fmt.Sprintf("| `%s` | %s | %s | %s |\n", name, strings.ToLower(families[name].GetType().String()), strings.Join(labels, ", "), families[name].GetHelp())
	}
	return table
}

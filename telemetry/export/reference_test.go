package export

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/goldentest"
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
	goldentest.Section(t, "../../docs/reference/metrics.md", "metrics", metricsTable(scrape(t, url)))
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

package monitoring

import (
	"slices"
	"strings"
	"testing"
)

const exportData = "../../telemetry/export/testdata/"

// family is what may be asked of a metric.
type family struct {
	histogram bool
	labels    []string
	later     bool // in the contract, and not recorded yet
}

// targetLabels come from the scrape configuration.
func targetLabels() []string { return []string{"job", "instance", "namespace", "node", "pod"} }

// contract reads the table of the driver's metrics.
func contract(t *testing.T) map[string]family {
	t.Helper()
	families := map[string]family{}
	for line := range strings.Lines(read(t, exportData+"contract.tsv")) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) != 4 {
			t.Fatalf("contract.tsv: %q", line)
		}
		families[fields[0]] = family{
			histogram: fields[1] == "H",
			labels:    append(targetLabels(), strings.FieldsFunc(fields[2], func(r rune) bool { return r == ',' })...),
			later:     fields[3] == "later",
		}
	}
	return families
}

// foreign are the metrics of others that are used here, and of their labels those that are.
func foreign() map[string]family {
	csi := []string{"driver_name", "method_name", "grpc_status_code"}
	claim := family{labels: []string{"namespace", "persistentvolumeclaim"}}
	return map[string]family{
		// Prometheus itself.
		"up":     {labels: targetLabels()},
		"ALERTS": {labels: append(targetLabels(), "alertname", "alertstate", "severity", "operation")},
		// client_golang's collectors, which the driver registers.
		"go_goroutines":                 {labels: targetLabels()},
		"process_cpu_seconds_total":     {labels: targetLabels()},
		"process_resident_memory_bytes": {labels: targetLabels()},
		// The sidecars: kubernetes-csi/csi-lib-utils, metrics/metrics.go.
		"csi_sidecar_operations_seconds": {histogram: true, labels: csi},
		// Kubelet and controller manager: kubernetes/kubernetes, pkg/volume/csi/csi_metrics.go,
		// pkg/volume/util/metrics.go, pkg/kubelet/metrics/collectors/volume_stats.go.
		"csi_operations_seconds":              {histogram: true, labels: csi},
		"storage_operation_duration_seconds":  {histogram: true, labels: []string{"volume_plugin", "operation_name", "status"}},
		"kubelet_volume_stats_capacity_bytes": claim, "kubelet_volume_stats_used_bytes": claim,
		"kubelet_volume_stats_inodes": claim, "kubelet_volume_stats_inodes_used": claim,
	}
}

// values are those that the driver's labels have, by label, as its own goldens show them.
func values(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for _, file := range []string{"controller-used", "node-used", "both-used"} {
		for line := range strings.Lines(read(t, exportData+"families-"+file+".txt")) {
			label, list, ok := strings.Cut(strings.TrimSpace(line), ": ")
			if ok && strings.HasPrefix(line, "    ") {
				found[label] = append(found[label], strings.Fields(list)...)
			}
		}
	}
	if !slices.Contains(found["state"], "stale") {
		t.Fatalf("the goldens of telemetry/export were not understood: %v", found)
	}
	return found
}

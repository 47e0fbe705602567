package k8s

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const monitoringDir = "../../../manifests/monitoring"

// scrapes has a real Prometheus find and scrape the pods, once with the scrape configuration that is shipped for a
// Prometheus without the operator, once with what the operator makes of the chart's monitors.
func (s *suite) scrapes(t *testing.T) {
	path, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("left out: a real Prometheus that scrapes the driver's pods, prometheus is not installed")
	}
	space := newSpace(t)
	space.apply(claim{name: "data"}.yaml(), pod{name: "main", claims: []string{"data"}, script: "true"}.yaml())
	space.wait("pod/main", "condition=Ready")
	for name, jobs := range map[string][]map[string]any{"Shipped": shippedJobs(t), "Monitors": monitorJobs(t)} {
		t.Run(name, func(t *testing.T) {
			base := startPrometheus(t, path, jobs)
			for _, query := range []string{
				`count(up{job="rds-csi-driver"} == 1) == 3`,
				`count(rds_csi_build_info{component="controller", node="node-1", namespace="rds-csi"}) == 2`,
				`count(rds_csi_build_info{component="node", node="node-1", namespace="rds-csi"}) == 1`,
				`sum(rds_csi_volume_operations_total{operation="create", status="success"}) > 0`,
				`sum(rds_csi_volume_operations_total{operation="stage", status="success"}) > 0`,
			} {
				await(t, query, func() (bool, string) { return ask(t, base, query) })
			}
		})
	}
}

// shippedJobs is scrape-config.yaml, with the API server's address that a Prometheus in a pod would know.
func shippedJobs(t *testing.T) []map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(monitoringDir, "scrape-config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var jobs []map[string]any
	if err := yaml.Unmarshal(text, &jobs); err != nil {
		t.Fatal(err)
	}
	return outside(t, jobs)
}

// outside has a job scrape often, what Kubernetes has now in place of its discovery: Debian's Prometheus is built
// without the one for Kubernetes. The job's own relabeling chooses among these targets.
func outside(t *testing.T, jobs []map[string]any) []map[string]any {
	t.Helper()
	for _, job := range jobs {
		job["scrape_interval"], job["scrape_timeout"] = "1s", "1s"
		found, ok := job["kubernetes_sd_configs"].([]any)
		if !ok || len(found) != 1 {
			t.Fatalf("the job has no discovery: %v", job)
		}
		delete(job, "kubernetes_sd_configs")
		switch role := found[0].(map[string]any)["role"]; role {
		case "pod":
			job["static_configs"] = podTargets(t)
		case "endpoints":
			job["static_configs"] = serviceTargets(t)
		default:
			t.Fatalf("discovery of %v", role)
		}
	}
	return jobs
}

// monitor is a ServiceMonitor or PodMonitor.
type monitor struct {
	Kind string `yaml:"kind"`
	Spec struct {
		JobLabel string `yaml:"jobLabel"`
		Selector struct {
			MatchLabels map[string]string `yaml:"matchLabels"`
		} `yaml:"selector"`
		Endpoints    []monitorEndpoint `yaml:"endpoints"`
		PodEndpoints []monitorEndpoint `yaml:"podMetricsEndpoints"`
	} `yaml:"spec"`
}

type monitorEndpoint struct {
	Port        string `yaml:"port"`
	Relabelings []struct {
		SourceLabels []string `yaml:"sourceLabels"`
		TargetLabel  string   `yaml:"targetLabel"`
	} `yaml:"relabelings"`
}

// monitorJobs makes of the chart's monitors what the operator does (promcfg.go there): discovery in the monitor's
// namespace, objects kept by label and port's name, namespace, pod, job and the monitor's own relabelings as labels.
func monitorJobs(t *testing.T) []map[string]any {
	t.Helper()
	var jobs []map[string]any
	decoder := yaml.NewDecoder(strings.NewReader(helm(t, "template", release, chartDir, "--set=monitoring.enabled=true", "--set=monitoring.sidecars=false")))
	for {
		var m monitor
		if err := decoder.Decode(&m); err == io.EOF {
			break
		} else if err != nil {
			continue // a dashboard's or a rule's spec is another one
		}
		switch m.Kind {
		case "ServiceMonitor":
			jobs = append(jobs, m.job("endpoints", "service", "__meta_kubernetes_endpoint_port_name", m.Spec.Endpoints))
		case "PodMonitor":
			jobs = append(jobs, m.job("pod", "pod", "__meta_kubernetes_pod_container_port_name", m.Spec.PodEndpoints))
		}
	}
	if len(jobs) != 2 {
		t.Fatalf("the chart has %d monitors", len(jobs))
	}
	return outside(t, jobs)
}

func labelName(name string) string {
	return strings.NewReplacer(".", "_", "/", "_", "-", "_").Replace(name)
}

func (m monitor) job(role, object, portLabel string, endpoints []monitorEndpoint) map[string]any {
	keep := func(label, value string) map[string]any {
		return map[string]any{"source_labels": []string{label}, "regex": value, "action": "keep"}
	}
	set := func(source, target string) map[string]any {
		return map[string]any{"source_labels": []string{source}, "target_label": target}
	}
	labels := "__meta_kubernetes_" + object + "_label_"
	relabel := []any{
		set("__meta_kubernetes_namespace", "namespace"), set("__meta_kubernetes_pod_name", "pod"), set(labels+labelName(m.Spec.JobLabel), "job"),
		keep(portLabel, endpoints[0].Port),
	}
	for name, value := range m.Spec.Selector.MatchLabels {
		relabel = append(relabel, keep(labels+labelName(name), value))
	}
	for _, r := range endpoints[0].Relabelings {
		relabel = append(relabel, set(r.SourceLabels[0], r.TargetLabel))
	}
	return map[string]any{
		"job_name": m.Kind, "relabel_configs": relabel,
		"kubernetes_sd_configs": []any{map[string]any{"role": role, "namespaces": map[string]any{"names": []string{namespace}}}},
	}
}

// startPrometheus gives its base URL.
func startPrometheus(t *testing.T, path string, jobs []map[string]any) string {
	t.Helper()
	config, err := yaml.Marshal(map[string]any{"scrape_configs": jobs})
	if err != nil {
		t.Fatal(err)
	}
	name := "prometheus-" + filepath.Base(t.Name())
	p := start(t, name, nil, path, "--config.file="+write(t, name+".yml", string(config)), "--storage.tsdb.path="+t.TempDir(),
		"--web.listen-address=127.0.0.1:9090", "--log.level=warn")
	await(t, "prometheus is ready", func() (bool, string) {
		if !p.running() {
			t.Fatalf("prometheus has ended: %s", p.tail())
		}
		response, err := http.Get("http://127.0.0.1:9090/-/ready")
		if err != nil {
			return false, err.Error()
		}
		defer response.Body.Close()
		return response.StatusCode == http.StatusOK, response.Status
	})
	return "http://127.0.0.1:9090"
}

// ask tells whether an expression has a result.
func ask(t *testing.T, base, query string) (bool, string) {
	t.Helper()
	response, err := http.Get(base + "/api/v1/query?" + url.Values{"query": {query}}.Encode())
	if err != nil {
		return false, err.Error()
	}
	defer response.Body.Close()
	var answer struct {
		Status string `json:"status"`
		Data   struct {
			Result []json.RawMessage `json:"result"`
		} `json:"data"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return false, err.Error()
	}
	return answer.Status == "success" && len(answer.Data.Result) > 0, fmt.Sprintf("%s, %d series", answer.Status, len(answer.Data.Result))
}

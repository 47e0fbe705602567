package monitoring

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"go.yaml.in/yaml/v3"
)

type metadata struct {
	Name        string            `yaml:"name"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// monitor is what a ServiceMonitor and a PodMonitor have, of what is used here.
type monitor struct {
	APIVersion string   `yaml:"apiVersion"`
	Kind       string   `yaml:"kind"`
	Metadata   metadata `yaml:"metadata"`
	Spec       struct {
		JobLabel string `yaml:"jobLabel"`
		Selector struct {
			MatchLabels map[string]string `yaml:"matchLabels"`
		} `yaml:"selector"`
		Endpoints    []endpoint `yaml:"endpoints"`
		PodEndpoints []endpoint `yaml:"podMetricsEndpoints"`
	} `yaml:"spec"`
}

type endpoint struct {
	Port        string `yaml:"port"`
	Path        string `yaml:"path"`
	Interval    string `yaml:"interval"`
	Relabelings []struct {
		SourceLabels []string `yaml:"sourceLabels"`
		TargetLabel  string   `yaml:"targetLabel"`
	} `yaml:"relabelings"`
}

// step is one relabeling of Prometheus.
type step struct {
	Source      []string `yaml:"source_labels,flow"`
	Regex       string   `yaml:"regex,omitempty"`
	Target      string   `yaml:"target_label,omitempty"`
	Replacement string   `yaml:"replacement,omitempty"`
	Action      string   `yaml:"action,omitempty"`
}

type job struct {
	Name     string   `yaml:"job_name"`
	Interval string   `yaml:"scrape_interval"`
	Path     string   `yaml:"metrics_path,omitempty"`
	SD       []sd     `yaml:"kubernetes_sd_configs,omitempty"`
	Static   []static `yaml:"static_configs,omitempty"`
	Relabel  []step   `yaml:"relabel_configs"`
}

type static struct {
	Targets []string          `yaml:"targets"`
	Labels  map[string]string `yaml:"labels"`
}

type sd struct {
	Role       string `yaml:"role"`
	Namespaces struct {
		Names []string `yaml:"names,omitempty"`
	} `yaml:"namespaces,omitempty"`
}

func sanitized(label string) string {
	return regexp.MustCompile(`[^a-zA-Z0-9_]`).ReplaceAllString(label, "_")
}

// translate does what the Prometheus operator does with a monitor (prometheus-operator, pkg/prometheus/promcfg.go,
// generateServiceMonitorConfig and generatePodMonitorConfig), for the fields that are used here.
func translate(m monitor, namespace string) []job {
	kind, role, object, portLabel := "serviceMonitor", "endpoints", "service", "__meta_kubernetes_endpoint_port_name"
	endpoints := m.Spec.Endpoints
	if m.Kind == "PodMonitor" {
		kind, role, object, portLabel = "podMonitor", "pod", "pod", "__meta_kubernetes_pod_container_port_name"
		endpoints = m.Spec.PodEndpoints
	}
	meta := "__meta_kubernetes_" + object + "_label_"
	var jobs []job
	for _, e := range endpoints {
		j := job{Name: kind + "/" + namespace + "/" + m.Metadata.Name + "/0", Interval: e.Interval, Path: e.Path, SD: []sd{{Role: role}}}
		j.SD[0].Namespaces.Names = []string{namespace}
		for label, value := range m.Spec.Selector.MatchLabels {
			j.Relabel = append(j.Relabel, step{Source: []string{meta + sanitized(label)}, Regex: value, Action: "keep"})
		}
		j.Relabel = append(j.Relabel,
			step{Source: []string{portLabel}, Regex: e.Port, Action: "keep"},
			step{Source: []string{"__meta_kubernetes_namespace"}, Target: "namespace"},
			step{Source: []string{"__meta_kubernetes_pod_name"}, Target: "pod"},
			step{Source: []string{meta + sanitized(m.Spec.JobLabel)}, Regex: "(.+)", Target: "job", Replacement: "${1}"})
		for _, r := range e.Relabelings {
			j.Relabel = append(j.Relabel, step{Source: r.SourceLabels, Target: r.TargetLabel})
		}
		jobs = append(jobs, j)
	}
	return jobs
}

func monitorJobs(t *testing.T, file, kind string) []job {
	t.Helper()
	var m monitor
	decode(t, file, &m)
	if m.APIVersion != "monitoring.coreos.com/v1" || m.Kind != kind || m.Metadata.Name == "" {
		t.Fatalf("%s is %s %s %s", file, m.APIVersion, m.Kind, m.Metadata.Name)
	}
	jobs := translate(m, "rds-csi")
	if len(jobs) != 1 || jobs[0].Path != "/metrics" {
		t.Fatalf("%s gives %+v", file, jobs)
	}
	return jobs
}

func plainJobs(t *testing.T) []job {
	t.Helper()
	var jobs []job
	decode(t, "scrape-config.yaml", &jobs)
	return jobs
}

// discovered is a container's port as Prometheus finds it (prometheus.io/docs, kubernetes_sd_config), with the labels
// of the driver's manifests.
func discovered(component, port string) map[string]string {
	found := map[string]string{
		"__address__":                 "10.0.0.11:9809",
		"__meta_kubernetes_namespace": "rds-csi", "__meta_kubernetes_pod_name": "p1", "__meta_kubernetes_pod_node_name": "w1",
		"__meta_kubernetes_pod_phase": "Running", "__meta_kubernetes_pod_container_port_name": port,
		"__meta_kubernetes_endpoint_port_name": port,
	}
	for _, object := range []string{"pod", "service"} {
		meta := "__meta_kubernetes_" + object + "_label_app_kubernetes_io_"
		found[meta+"name"], found[meta+"component"] = "rds-csi-driver", component
	}
	return found
}

// relabeled applies a job's relabeling with Prometheus' own code; nil where the target is dropped.
func relabeled(t *testing.T, j job, found map[string]string) map[string]string {
	t.Helper()
	builder := labels.NewBuilder(labels.FromMap(found))
	builder.Set("job", j.Name)
	for _, s := range j.Relabel {
		var c relabel.Config
		if err := yaml.Unmarshal([]byte(marshal(t, s)), &c); err != nil {
			t.Fatalf("%+v: %v", s, err)
		}
		c.NameValidationScheme = model.LegacyValidation
		if err := c.Validate(model.LegacyValidation); err != nil {
			t.Fatalf("%+v: %v", s, err)
		}
		if !relabel.ProcessBuilder(builder, &c) {
			return nil
		}
	}
	result := builder.Labels().Map()
	maps.DeleteFunc(result, func(name, _ string) bool { return strings.HasPrefix(name, "__") })
	return result
}

func TestMonitorsFindTheDriverAndNothingElse(t *testing.T) {
	want := map[string]string{"job": "rds-csi-driver", "namespace": "rds-csi", "pod": "p1", "node": "w1"}
	for name, test := range map[string]struct {
		jobs       []job
		components []string
	}{
		"servicemonitor.yaml": {monitorJobs(t, "servicemonitor.yaml", "ServiceMonitor"), []string{"controller"}},
		"podmonitor.yaml":     {monitorJobs(t, "podmonitor.yaml", "PodMonitor"), []string{"node"}},
		"scrape-config.yaml":  {plainJobs(t), []string{"controller", "node"}},
	} {
		j := test.jobs[0]
		for _, component := range test.components {
			if got := relabeled(t, j, discovered(component, "metrics")); !maps.Equal(got, want) {
				t.Errorf("%s gives the %s the labels %v, want %v", name, component, got, want)
			}
		}
		checkDropped(t, name, j, test.components[0])
	}
}

func checkDropped(t *testing.T, name string, j job, component string) {
	t.Helper()
	other := discovered(component, "metrics")
	for _, object := range []string{"pod", "service"} {
		other["__meta_kubernetes_"+object+"_label_app_kubernetes_io_name"] = "something-else"
	}
	for what, found := range map[string]map[string]string{
		"another program":   other,
		"another component": discovered("webhook", "metrics"),
		"another port":      discovered(component, "healthz"),
	} {
		if got := relabeled(t, j, found); got != nil {
			t.Errorf("%s scrapes %s: %v", name, what, got)
		}
	}
}

func TestPromtoolAcceptsTheScrapeConfigurations(t *testing.T) {
	jobs := append(monitorJobs(t, "servicemonitor.yaml", "ServiceMonitor"), monitorJobs(t, "podmonitor.yaml", "PodMonitor")...)
	jobs = append(jobs, plainJobs(t)...)
	for i := range jobs { // Debian builds its Prometheus without the discovery of Kubernetes: what it would find stands in
		if len(jobs[i].SD) != 1 {
			t.Fatalf("%s has %d discoveries", jobs[i].Name, len(jobs[i].SD))
		}
		jobs[i].SD, jobs[i].Static = nil, []static{{[]string{"10.0.0.11:9809"}, discovered("controller", "metrics")}}
	}
	rules, err := filepath.Abs("rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "prometheus.yml")
	text := marshal(t, map[string]any{"rule_files": []string{rules}, "scrape_configs": jobs})
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "config", config)
}

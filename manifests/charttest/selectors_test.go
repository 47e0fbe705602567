package charttest

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

func matches(t *testing.T, selector *metav1.LabelSelector, of map[string]string) bool {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil || s.Empty() {
		t.Fatalf("selector %v: %v", selector, err)
	}
	return s.Matches(labels.Set(of))
}

func ports(pod corev1.PodTemplateSpec) []string {
	var names []string
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			names = append(names, p.Name)
		}
	}
	return names
}

// Every selector finds the pods it is about, and not the others.
func TestSelectorsFindTheirPods(t *testing.T) {
	each(t, func(t *testing.T, o objects) {
		controller, node := o.controller(t), o.node(t)
		about := func(what string, selector *metav1.LabelSelector, mine, other corev1.PodTemplateSpec) {
			if !matches(t, selector, mine.Labels) || matches(t, selector, other.Labels) {
				t.Errorf("%s selects %v", what, selector)
			}
		}
		about("Deployment", o.deployments[0].Spec.Selector, controller, node)
		about("DaemonSet", o.daemonSets[0].Spec.Selector, node, controller)
		about("PodDisruptionBudget", o.budgets[0].Spec.Selector, controller, node)
		about("Service", &metav1.LabelSelector{MatchLabels: o.services[0].Spec.Selector}, controller, node)
		for _, p := range o.policies {
			about("NetworkPolicy", &p.Spec.PodSelector, controller, node)
			for _, port := range p.Spec.Ingress[0].Ports {
				if !slices.Contains(ports(controller), port.Port.StrVal) {
					t.Errorf("the NetworkPolicy lets in to %s, which is no port", port.Port)
				}
			}
			if len(p.Spec.Ingress[0].Ports) != len(ports(controller)) {
				t.Errorf("the controller has the ports %v, and %d are let in", ports(controller), len(p.Spec.Ingress[0].Ports))
			}
		}
		for _, port := range o.services[0].Spec.Ports {
			if !slices.Contains(ports(controller), port.TargetPort.StrVal) {
				t.Errorf("the Service leads to %s, which is no port", port.TargetPort.StrVal)
			}
		}
	})
}

// A controller whose array is away is not ready: it must be scraped all the same, and must not keep a node from being drained.
func TestAnArrayThatIsAwayIsNoObstacle(t *testing.T) {
	each(t, func(t *testing.T, o objects) {
		if !o.services[0].Spec.PublishNotReadyAddresses {
			t.Error("the Service hides a controller that is not ready")
		}
		if policy := o.budgets[0].Spec.UnhealthyPodEvictionPolicy; policy == nil || *policy != "AlwaysAllow" {
			t.Error("a controller that is not ready cannot be evicted")
		}
	})
}

// checkMonitor follows a monitor the way the Prometheus operator does: to the Service or the pods, and to a port there.
func checkMonitor(t *testing.T, m *monitor, o objects) {
	t.Helper()
	mine, other, names, endpoints := o.services[0].Labels, o.node(t).Labels, servicePorts(o.services[0]), m.Spec.Endpoints
	if m.Kind == "PodMonitor" {
		mine, other, names, endpoints = o.node(t).Labels, o.controller(t).Labels, ports(o.node(t)), m.Spec.PodMetricsEndpoints
	}
	if !matches(t, &m.Spec.Selector, mine) || matches(t, &m.Spec.Selector, other) {
		t.Errorf("%s %s selects %v", m.Kind, m.Name, m.Spec.Selector)
	}
	if len(endpoints) == 0 {
		t.Errorf("%s %s has no endpoint", m.Kind, m.Name)
	}
	for _, e := range endpoints {
		if !slices.Contains(names, e.Port) {
			t.Errorf("%s %s scrapes %q, of %v", m.Kind, m.Name, e.Port, names)
		}
	}
}

func servicePorts(s *corev1.Service) []string {
	var names []string
	for _, p := range s.Spec.Ports {
		names = append(names, p.Name)
	}
	return names
}

func TestMonitorsFindWhatTheChartRenders(t *testing.T) {
	o := decode(t, render(t, "--values", valueSets(t)["monitoring"]))
	var names []string
	for _, m := range o.monitors {
		names = append(names, m.Kind+" "+m.Name)
		checkMonitor(t, m, o)
		if m.Labels["release"] != "prometheus" || m.Namespace != namespace {
			t.Errorf("%s: labels %v in %s", m.Name, m.Labels, m.Namespace)
		}
		for _, e := range slices.Concat(m.Spec.Endpoints, m.Spec.PodMetricsEndpoints) {
			ofDriver := e.Port == "metrics"
			if e.Interval != "15s" || ofDriver != (e.Scheme == "https") || ofDriver != (e.TLSConfig["serverName"] == "rds-csi-driver") {
				t.Errorf("%s: %+v", m.Name, e)
			}
		}
	}
	want := []string{"PodMonitor rds-csi-driver-node", "ServiceMonitor rds-csi-driver-controller", "ServiceMonitor rds-csi-driver-sidecars"}
	slices.Sort(names)
	if !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
	if len(o.rules) != 1 || len(o.configMaps) < 4 {
		t.Errorf("%d rules, %d dashboards", len(o.rules), len(o.configMaps))
	}
}

// Those without Helm, or without the operator, take the files of manifests/monitoring as they are.
func TestTheShippedMonitorsFindWhatTheChartRenders(t *testing.T) {
	each(t, func(t *testing.T, o objects) {
		for _, file := range []string{"servicemonitor.yaml", "podmonitor.yaml"} {
			checkMonitor(t, strict[monitor](t, read(t, "../monitoring/"+file)), o)
		}
		for component, pod := range map[string]corev1.PodTemplateSpec{"controller": o.controller(t), "node": o.node(t)} {
			if pod.Labels["app.kubernetes.io/name"] != "rds-csi-driver" || pod.Labels["app.kubernetes.io/component"] != component || !slices.Contains(ports(pod), "metrics") {
				t.Errorf("scrape-config.yaml does not find the %s: labels %v, ports %v", component, pod.Labels, ports(pod))
			}
		}
	})
}

// A dashboard goes into Grafana as it was made, under a name of its own.
func TestDashboardsAreThoseOfMonitoring(t *testing.T) {
	o := decode(t, render(t, "--values", valueSets(t)["monitoring"]))
	seen := map[string]bool{}
	for _, m := range o.configMaps {
		if len(m.Data) != 1 || m.Labels["grafana_dashboard"] != "1" || m.Annotations["grafana_folder"] != "rds-csi" {
			t.Errorf("%s: %d files, labels %v", m.Name, len(m.Data), m.Labels)
		}
		for name, text := range m.Data {
			seen[name] = true
			if text != read(t, "../monitoring/dashboards/"+strings.TrimPrefix(name, "rds-csi-")) {
				t.Errorf("%s was changed on its way", name)
			}
		}
	}
	if len(seen) != len(copies(t))-3 {
		t.Errorf("only %v", seen)
	}
	var want map[string]any
	if err := yaml.UnmarshalStrict([]byte(read(t, "../monitoring/rules.yaml")), &want); err != nil {
		t.Fatal(err)
	}
	got, err := yaml.Marshal(o.rules[0].Spec)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := yaml.Marshal(want); err != nil || string(text) != string(got) {
		t.Errorf("the rules were changed on their way: %v", err)
	}
}

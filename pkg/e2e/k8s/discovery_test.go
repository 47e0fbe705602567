package k8s

import (
	"encoding/json"
	"fmt"
	"maps"
	"testing"
)

// The labels are those that Prometheus documents for its discovery in Kubernetes
// (prometheus.io/docs/prometheus/latest/configuration/configuration/#kubernetes_sd_config), as far as they are used.

type podObject struct {
	Metadata objectMeta `json:"metadata"`
	Spec     struct {
		NodeName   string `json:"nodeName"`
		Containers []struct {
			Ports []struct {
				Name          string `json:"name"`
				ContainerPort int    `json:"containerPort"`
			} `json:"ports"`
		} `json:"containers"`
	} `json:"spec"`
	Status struct {
		Phase string `json:"phase"`
		PodIP string `json:"podIP"`
	} `json:"status"`
}

type serviceObject struct {
	Metadata objectMeta `json:"metadata"`
	Spec     struct {
		Selector map[string]string `json:"selector"`
		Ports    []struct {
			Name       string `json:"name"`
			TargetPort any    `json:"targetPort"`
		} `json:"ports"`
	} `json:"spec"`
}

type objectMeta struct {
	Name      string            `json:"name"`
	Namespace string            `json:"namespace"`
	Labels    map[string]string `json:"labels"`
}

// list reads all objects of a kind.
func list[T any](t *testing.T, kind string) []T {
	t.Helper()
	var found struct {
		Items []T `json:"items"`
	}
	if err := json.Unmarshal([]byte(kubectl(t, "get", kind, "--all-namespaces", "-o", "json")), &found); err != nil {
		t.Fatal(err)
	}
	return found.Items
}

const meta = "__meta_kubernetes_"

// target is one port of a pod.
type target struct {
	port    string
	address string
	labels  map[string]string
}

func (p podObject) targets() []target {
	var all []target
	for _, container := range p.Spec.Containers {
		for _, port := range container.Ports {
			labels := map[string]string{
				meta + "namespace": p.Metadata.Namespace, meta + "pod_name": p.Metadata.Name, meta + "pod_node_name": p.Spec.NodeName,
				meta + "pod_phase": p.Status.Phase, meta + "pod_container_port_name": port.Name,
			}
			for name, value := range p.Metadata.Labels {
				labels[meta+"pod_label_"+labelName(name)] = value
			}
			all = append(all, target{port.Name, fmt.Sprintf("%s:%d", p.Status.PodIP, port.ContainerPort), labels})
		}
	}
	return all
}

func (x target) config(more map[string]string) any {
	labels := maps.Clone(x.labels)
	maps.Copy(labels, more)
	return map[string]any{"targets": []string{x.address}, "labels": labels}
}

// podTargets is the discovery with role pod.
func podTargets(t *testing.T) []any {
	t.Helper()
	var all []any
	for _, p := range list[podObject](t, "pods") {
		for _, x := range p.targets() {
			all = append(all, x.config(nil))
		}
	}
	return all
}

// serviceTargets is the discovery with role endpoints: the pods that a Service selects, by the Service's ports.
func serviceTargets(t *testing.T) []any {
	t.Helper()
	pods := list[podObject](t, "pods")
	var all []any
	for _, s := range list[serviceObject](t, "services") {
		for _, p := range pods {
			if len(s.Spec.Selector) == 0 || p.Metadata.Namespace != s.Metadata.Namespace || !selects(s.Spec.Selector, p.Metadata.Labels) {
				continue
			}
			for _, x := range p.targets() {
				all = append(all, s.throughPorts(x)...)
			}
		}
	}
	return all
}

func (s serviceObject) throughPorts(x target) []any {
	var all []any
	for _, port := range s.Spec.Ports {
		if port.TargetPort != x.port {
			continue
		}
		more := map[string]string{meta + "service_name": s.Metadata.Name, meta + "endpoint_port_name": port.Name}
		for name, value := range s.Metadata.Labels {
			more[meta+"service_label_"+labelName(name)] = value
		}
		all = append(all, x.config(more))
	}
	return all
}

func selects(selector, labels map[string]string) bool {
	for name, value := range selector {
		if labels[name] != value {
			return false
		}
	}
	return true
}

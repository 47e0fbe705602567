package charttest

import (
	"regexp"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// monitor is a ServiceMonitor or a PodMonitor (monitoring.coreos.com/v1), of what the chart uses.
type monitor struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		JobLabel            string               `json:"jobLabel"`
		Selector            metav1.LabelSelector `json:"selector"`
		Endpoints           []endpoint           `json:"endpoints"`
		PodMetricsEndpoints []endpoint           `json:"podMetricsEndpoints"`
	} `json:"spec"`
}

type endpoint struct {
	Port        string         `json:"port"`
	Path        string         `json:"path"`
	Interval    string         `json:"interval"`
	Scheme      string         `json:"scheme"`
	TLSConfig   map[string]any `json:"tlsConfig"`
	Relabelings []struct {
		SourceLabels []string `json:"sourceLabels"`
		TargetLabel  string   `json:"targetLabel"`
		Replacement  string   `json:"replacement"`
	} `json:"relabelings"`
}

// prometheusRule is of the same group; its content is compared as text.
type prometheusRule struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              map[string]any `json:"spec"`
}

// objects are what a chart renders to, in Kubernetes' own types.
type objects struct {
	deployments []*appsv1.Deployment
	daemonSets  []*appsv1.DaemonSet
	services    []*corev1.Service
	accounts    []*corev1.ServiceAccount
	configMaps  []*corev1.ConfigMap
	namespaces  []*corev1.Namespace
	budgets     []*policyv1.PodDisruptionBudget
	policies    []*networkingv1.NetworkPolicy
	roles       []*rbacv1.Role
	bindings    []*rbacv1.RoleBinding
	clusterWide []*rbacv1.ClusterRole
	clusterBind []*rbacv1.ClusterRoleBinding
	drivers     []*storagev1.CSIDriver
	classes     []*storagev1.StorageClass
	monitors    []*monitor
	rules       []*prometheusRule
}

var (
	separator  = regexp.MustCompile(`(?m)^---$`)
	typeOf     = regexp.MustCompile(`(?m)^kind: (\S+)$`)
	apiVersion = regexp.MustCompile(`(?m)^apiVersion: (\S+)$`)
)

// decode reads manifests strictly: a field that the type has not, or has twice, is a mistake.
func decode(t *testing.T, manifests string) objects {
	t.Helper()
	var o objects
	count := 0
	for _, text := range separator.Split(manifests, -1) {
		kind, version := typeOf.FindStringSubmatch(text), apiVersion.FindStringSubmatch(text)
		if kind == nil || version == nil {
			if strings.TrimSpace(text) != "" {
				t.Fatalf("no object: %s", text)
			}
			continue
		}
		o.add(t, version[1]+" "+kind[1], text)
		count++
	}
	if count < 10 {
		t.Fatalf("only %d objects were found", count)
	}
	return o
}

func (o *objects) add(t *testing.T, kind, text string) {
	t.Helper()
	switch kind {
	case "apps/v1 Deployment":
		o.deployments = append(o.deployments, strict[appsv1.Deployment](t, text))
	case "apps/v1 DaemonSet":
		o.daemonSets = append(o.daemonSets, strict[appsv1.DaemonSet](t, text))
	case "v1 Service":
		o.services = append(o.services, strict[corev1.Service](t, text))
	case "v1 ServiceAccount":
		o.accounts = append(o.accounts, strict[corev1.ServiceAccount](t, text))
	case "v1 ConfigMap":
		o.configMaps = append(o.configMaps, strict[corev1.ConfigMap](t, text))
	case "v1 Namespace":
		o.namespaces = append(o.namespaces, strict[corev1.Namespace](t, text))
	case "policy/v1 PodDisruptionBudget":
		o.budgets = append(o.budgets, strict[policyv1.PodDisruptionBudget](t, text))
	case "networking.k8s.io/v1 NetworkPolicy":
		o.policies = append(o.policies, strict[networkingv1.NetworkPolicy](t, text))
	case "storage.k8s.io/v1 CSIDriver":
		o.drivers = append(o.drivers, strict[storagev1.CSIDriver](t, text))
	case "storage.k8s.io/v1 StorageClass":
		o.classes = append(o.classes, strict[storagev1.StorageClass](t, text))
	case "monitoring.coreos.com/v1 ServiceMonitor", "monitoring.coreos.com/v1 PodMonitor":
		o.monitors = append(o.monitors, strict[monitor](t, text))
	case "monitoring.coreos.com/v1 PrometheusRule":
		o.rules = append(o.rules, strict[prometheusRule](t, text))
	default:
		o.addRights(t, kind, text)
	}
}

func (o *objects) addRights(t *testing.T, kind, text string) {
	t.Helper()
	switch kind {
	case "rbac.authorization.k8s.io/v1 Role":
		o.roles = append(o.roles, strict[rbacv1.Role](t, text))
	case "rbac.authorization.k8s.io/v1 RoleBinding":
		o.bindings = append(o.bindings, strict[rbacv1.RoleBinding](t, text))
	case "rbac.authorization.k8s.io/v1 ClusterRole":
		o.clusterWide = append(o.clusterWide, strict[rbacv1.ClusterRole](t, text))
	case "rbac.authorization.k8s.io/v1 ClusterRoleBinding":
		o.clusterBind = append(o.clusterBind, strict[rbacv1.ClusterRoleBinding](t, text))
	default:
		t.Errorf("%s: no type is known for it", kind)
	}
}

func strict[T any](t *testing.T, text string) *T {
	t.Helper()
	object := new(T)
	if err := yaml.UnmarshalStrict([]byte(text), object); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return object
}

// controller and node are the pods of the two roles.
func (o objects) controller(t *testing.T) corev1.PodTemplateSpec {
	t.Helper()
	if len(o.deployments) != 1 {
		t.Fatalf("%d Deployments", len(o.deployments))
	}
	return o.deployments[0].Spec.Template
}

func (o objects) node(t *testing.T) corev1.PodTemplateSpec {
	t.Helper()
	if len(o.daemonSets) != 1 {
		t.Fatalf("%d DaemonSets", len(o.daemonSets))
	}
	return o.daemonSets[0].Spec.Template
}

func container(t *testing.T, pod corev1.PodTemplateSpec, name string) corev1.Container {
	t.Helper()
	for _, c := range pod.Spec.Containers {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no container %s", name)
	return corev1.Container{}
}

package k8s

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/driver"
)

// paperNode is a node on paper: what a kubelet and the driver's plugin register of themselves, without either. It
// lacks the label kubernetes.io/os, so the node plugin's DaemonSet leaves it out.
type paperNode struct {
	name, id string  // id: in the driver's form
	heart    *daemon // renews its lease, as kubelet does
}

type object = map[string]any

// newPaperNode makes a second node like the first, and returns when it is ready. It is there until the end of the test.
func newPaperNode(t *testing.T, name string) *paperNode {
	t.Helper()
	cluster := kubectl(t, "get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")
	id, err := driver.NewNodeID(driverName, cluster, name, "e2e-paper-machine")
	if err != nil {
		t.Fatal(err)
	}
	n := &paperNode{name: name, id: id.String()}
	plugin, labels := registered(t)
	plugin["nodeID"] = n.id
	labels["kubernetes.io/hostname"] = name
	t.Cleanup(func() { n.remove(t) })
	attachable := object{"volumes.kubernetes.io/controller-managed-attach-detach": "true"} // kubelet's word that it does not attach volumes itself
	create(t, object{"apiVersion": "v1", "kind": "Node", "metadata": object{"name": name, "labels": labels, "annotations": attachable}, "status": object{
		"capacity":    object{"cpu": "1", "memory": "1Gi", "pods": "10"},
		"allocatable": object{"cpu": "1", "memory": "1Gi", "pods": "10"},
		"conditions":  []object{{"type": "Ready", "status": "True", "reason": "KubeletReady"}},
	}})
	create(t, object{"apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": object{"name": name}, "spec": object{"drivers": []object{plugin}}})
	create(t, object{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": object{"name": name, "namespace": "kube-node-lease"},
		"spec": object{"holderIdentity": name, "leaseDurationSeconds": 40}})
	n.heart = start(t, name, []string{"KUBECONFIG=" + under("admin.conf")}, "sh", "-c", `while :; do
		now=$(date -u +%Y-%m-%dT%H:%M:%S.%6NZ)
		"$0" patch lease --namespace=kube-node-lease "$1" --type=merge --patch="{\"spec\": {\"renewTime\": \"$now\"}}"
		sleep 5
	done`, built("kubectl"), name)
	// The controller manager takes off the taint with which each node begins.
	await(t, name+" takes pods", func() (bool, string) {
		taints := kubectl(t, "get", "node", name, "-o", "jsonpath={.spec.taints}")
		return taints == "", taints
	})
	return n
}

// registered is what kubelet says of the driver in the CSINode of the real node, and the labels that go with it.
func registered(t *testing.T) (plugin, labels object) {
	t.Helper()
	var csi struct {
		Spec struct {
			Drivers []object `json:"drivers"`
		} `json:"spec"`
	}
	var node struct {
		Metadata struct {
			Labels object `json:"labels"`
		} `json:"metadata"`
	}
	for kind, into := range map[string]any{"csinode": &csi, "node": &node} {
		if err := json.Unmarshal([]byte(kubectl(t, "get", kind, nodeName, "-o", "json")), into); err != nil {
			t.Fatal(err)
		}
	}
	i := slices.IndexFunc(csi.Spec.Drivers, func(d object) bool { return d["name"] == driverName })
	if i < 0 {
		t.Fatalf("the driver is not among %v", csi.Spec.Drivers)
	}
	plugin, labels = csi.Spec.Drivers[i], object{}
	for _, key := range plugin["topologyKeys"].([]any) {
		labels[key.(string)] = node.Metadata.Labels[key.(string)]
	}
	return plugin, labels
}

func create(t *testing.T, o object) {
	t.Helper()
	run(t, text(t, o), built("kubectl"), "create", "--filename=-")
}

func text(t *testing.T, o object) string {
	t.Helper()
	out, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// runs says what kubelet would of a pod that runs there with its volume.
func (n *paperNode) runs(t *testing.T, space space, pod string) {
	t.Helper()
	var names []string
	await(t, n.name+" is told of the volume", func() (bool, string) {
		out := kubectl(t, "get", "node", n.name, "-o", "jsonpath={.status.volumesAttached[*].name}")
		names = strings.Fields(out)
		return len(names) == 1, out
	})
	kubectl(t, "patch", "node", n.name, "--subresource=status", "--type=merge", "--patch="+text(t, object{"status": object{"volumesInUse": names}}))
	running := object{"name": "main", "image": busyboxImage, "imageID": busyboxImage, "ready": true, "started": true, "restartCount": 0,
		"state": object{"running": object{"startedAt": time.Now().UTC().Format(time.RFC3339)}}}
	space.kubectl("patch", "pod", pod, "--subresource=status", "--type=merge", "--patch="+text(t, object{"status": object{
		"phase": "Running", "conditions": []object{{"type": "Ready", "status": "True"}}, "containerStatuses": []object{running},
	}}))
}

// goDark lets nothing more be heard of the node, and returns when Kubernetes has noticed.
func (n *paperNode) goDark(t *testing.T) {
	t.Helper()
	n.heart.kill(t)
	waitFor(t, "node/"+n.name, "condition=Ready=Unknown")
}

func (n *paperNode) remove(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{{"node"}, {"csinode"}, {"lease", "--namespace=kube-node-lease"}} {
		kubectl(t, append([]string{"delete", "--ignore-not-found", args[0], n.name}, args[1:]...)...)
	}
}

package k8s

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// outOfService has a node go dark that holds a volume. Kubernetes leaves it the volume until the administrator says,
// by the command of the troubleshooting guide, that the node is off. Then the volume moves, and the array exports it
// by a name that the dead node does not know. The node is one on paper, so this is the controllers' part; the kernel's
// is in pkg/e2e/guest.
func (s *suite) outOfService(t *testing.T) {
	space := newSpace(t)
	space.apply(claim{name: "data"}.yaml(), pod{name: "writer", claims: []string{"data"}, script: "echo kept > /data/file; sync"}.yaml())
	space.wait("pod/writer", "condition=Ready")
	here := kubectl(t, "get", "csinode", nodeName, "-o", `jsonpath={.spec.drivers[?(@.name=="`+driverName+`")].nodeID}`)
	f := &failover{suite: s, space: space, slot: space.slot("data"), here: here}
	before := s.array.held(t, f.slot, here)
	space.kubectl("delete", "pod", "writer")
	await(t, "the volume is free", func() (bool, string) { return s.array.free(t, f.slot), fmt.Sprintf("%+v", s.array.volume(t, f.slot)) })

	f.dead = newPaperNode(t, "node-2")
	f.settle(t)
	f.dead.goDark(t)
	f.stays(t)
	f.isFenced(t)
	f.arrives(t)
	if f.lost == before {
		t.Errorf("both nodes knew the volume as %s", before)
	}
	space.kubectl("delete", "deployment,pvc", "--all")
	s.ends(t)
}

// failover is a volume's way from a dead node to the one that is left.
type failover struct {
	*suite
	space    space
	dead     *paperNode
	slot     string
	here     string // id of the node that is left
	lost     string // name by which the dead node knows the volume
	old, new string // pods
}

// settle has a Deployment's pod go to the second node, and the volume with it.
func (f *failover) settle(t *testing.T) {
	t.Helper()
	t.Cleanup(func() { kubectl(t, "uncordon", nodeName) })
	kubectl(t, "cordon", nodeName)
	f.space.apply(deployment)
	await(t, "the volume is attached to the second node", func() (bool, string) {
		state := f.attachment(t)
		return state == attached, state
	})
	f.lost = f.array.held(t, f.slot, f.dead.id)
	f.old = f.pod(t, f.dead.name)
	f.dead.runs(t, f.space, f.old)
	f.space.kubectl("rollout", "status", "deployment/main", "--timeout=200s")
	kubectl(t, "uncordon", nodeName)
}

// stays wants the volume to stay where it is while nobody knows whether the node still writes to it: the pod that is to
// take the old one's place has to wait, and says why.
func (f *failover) stays(t *testing.T) {
	t.Helper()
	await(t, "another pod has come", func() (bool, string) {
		f.new = f.pod(t, nodeName)
		return f.new != "", f.space.kubectl("get", "pods", "-o", "wide")
	})
	await(t, "it may not have the volume", func() (bool, string) {
		out := f.space.kubectl("get", "events", "--field-selector=reason=FailedAttachVolume,involvedObject.name="+f.new, "-o", "jsonpath={.items[*].message}")
		return strings.Contains(out, "Waiting for detach") && strings.Contains(out, f.old), out
	})
	f.space.wait("pod/"+f.old, "jsonpath={.metadata.deletionTimestamp}")
	if state := f.attachment(t); state != attached {
		t.Errorf("the attachment to the dead node: %q", state)
	}
	if name := f.array.held(t, f.slot, f.dead.id); name != f.lost {
		t.Errorf("the dead node knew the volume as %s; it is %s now", f.lost, name)
	}
}

// isFenced says that the node is off. The volume is taken from it, and stays free as long as nothing of a publish to
// the other node reaches the array.
func (f *failover) isFenced(t *testing.T) {
	t.Helper()
	t.Cleanup(func() { f.array.do(t, http.MethodDelete, "/faults", "") })
	f.array.do(t, http.MethodPost, "/faults", text(t, object{"kind": "drop_before", "match": hostNQN(f.here), "count": -1}))
	forced := forcedDetaches(t)
	command := strings.ReplaceAll(guideCommand(t, "A node is dead"), "NODE", f.dead.name)
	run(t, "", "sh", "-euc", "PATH="+filepath.Dir(built("kubectl"))+":$PATH\n"+command)

	await(t, "there is no attachment to the dead node", func() (bool, string) {
		state := f.attachment(t)
		return state == "", state
	})
	await(t, "the next publish was tried, and cut off", func() (bool, string) {
		problem := kubectl(t, "get", "volumeattachments", "-o", `jsonpath={.items[?(@.spec.nodeName=="`+nodeName+`")].status.attachError.message}`)
		return problem != "", problem
	})
	if !f.array.free(t, f.slot) {
		t.Errorf("the volume was taken from its only holder: %+v", f.array.volume(t, f.slot))
	}
	f.shutsOut(t)
	if now := forcedDetaches(t); now == forced {
		t.Errorf("Kubernetes has forced no detach for that taint:\n%s", now)
	}
	f.array.do(t, http.MethodDelete, "/faults", "")
}

// arrives wants the volume on the node that is left, with its data, under a name of its own.
func (f *failover) arrives(t *testing.T) {
	t.Helper()
	f.space.wait("pod/"+f.new, "condition=Ready")
	if got := f.space.sh(f.new, "cat /data/file; grep ' /data ' /proc/mounts"); !strings.HasPrefix(got, "kept\nmore\n") || !strings.Contains(got, " rw,") {
		t.Errorf("file and mount are %q", got)
	}
	if now := f.array.held(t, f.slot, f.here); now == f.lost {
		t.Errorf("the dead node knows the volume as %s, and so it is exported", now)
	}
	f.shutsOut(t)
	if left := f.space.kubectl("get", "pod", f.old, "--ignore-not-found", "-o", "name"); left != "" {
		t.Errorf("%s is still there", left)
	}
}

// shutsOut wants the array to refuse the dead node, by the name it knows and by the one the volume has now; and
// everybody by the old name.
func (f *failover) shutsOut(t *testing.T) {
	t.Helper()
	now := f.array.volume(t, f.slot).NQN
	for _, try := range [][2]string{{f.lost, f.dead.id}, {f.lost, f.here}, {now, f.dead.id}} {
		if f.array.admits(t, try[0], try[1]) {
			t.Errorf("the array lets %s in as %s", try[1], try[0])
		}
	}
}

const attached = "attached=true"

// attachment is what Kubernetes says of that to the dead node; "" is none.
func (f *failover) attachment(t *testing.T) string {
	t.Helper()
	return kubectl(t, "get", "volumeattachments", "-o", `jsonpath={range .items[?(@.spec.nodeName=="`+f.dead.name+`")]}attached={.status.attached}{end}`)
}

// pod is the Deployment's on a node, or "".
func (f *failover) pod(t *testing.T, node string) string {
	t.Helper()
	return f.space.kubectl("get", "pods", "--selector=app=main", "--field-selector=spec.nodeName="+node, "-o", "jsonpath={.items[*].metadata.name}")
}

// slot is the array's name for a claim's volume.
func (s space) slot(claim string) string {
	s.t.Helper()
	handle := kubectl(s.t, "get", "pv", s.kubectl("get", "pvc", claim, "-o", "jsonpath={.spec.volumeName}"), "-o", "jsonpath={.spec.csi.volumeHandle}")
	return strings.TrimPrefix(handle, "rds/")
}

// forcedDetaches is the controller manager's count of those that the taint was the reason of.
func forcedDetaches(t *testing.T) string {
	t.Helper()
	all := kubectl(t, "--server=https://127.0.0.1:10257", "--insecure-skip-tls-verify", "get", "--raw=/metrics")
	return regexp.MustCompile(`(?m)^\S*attachdetach_controller_forced_detaches\{reason="out-of-service"\} .*$`).FindString(all)
}

// guideCommand is the first block of commands below a heading of the troubleshooting guide.
func guideCommand(t *testing.T, title string) string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/guides/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## "+title+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	_, block, _ := strings.Cut(section, "\n```sh\n")
	block, _, ok := strings.Cut(block, "\n```\n")
	if !ok {
		t.Fatalf("the guide has no commands below %q", title)
	}
	return block
}

// deployment's pod is moved as soon as its node is not heard of; by default that takes five minutes.
const deployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: main}
spec:
  strategy: {type: Recreate}
  selector: {matchLabels: {app: main}}
  template:
    metadata: {labels: {app: main}}
    spec:
      terminationGracePeriodSeconds: 1
      tolerations: [{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 1}]
      containers:
        - name: main
          image: ` + busyboxImage + `
          imagePullPolicy: Never
          command: [sh, -c, "set -e; grep -x kept /data/file; echo more >> /data/file; sync; touch /tmp/ready; exec sleep 100000"]
          readinessProbe: {exec: {command: [test, -e, /tmp/ready]}, periodSeconds: 1}
          volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
`

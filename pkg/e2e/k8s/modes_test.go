package k8s

import (
	"fmt"
	"strings"
	"testing"
)

// modes are the ways in which a pod can ask for a volume. They run at the same time.
func (s *suite) modes(t *testing.T) {
	t.Run("All", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T){
			"Block": s.block, "Ephemeral": s.ephemeral, "FSGroup": s.fsGroup, "ReadOnly": s.readOnly, "StatefulSet": s.statefulSet,
			"Shared": s.twoPods, "OncePod": s.oncePod, "Late": s.late, "Ext4": s.fileSystem("ext4"), "Btrfs": s.fileSystem("btrfs"),
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t)
			})
		}
	})
	s.array.agrees(t)
}

func (s *suite) fileSystem(fsType string) func(*testing.T) {
	return func(t *testing.T) {
		space := newSpace(t)
		space.apply(claim{name: "data", class: "rds-" + fsType}.yaml(), pod{name: "main", claims: []string{"data"}, script: "echo kept > /data/file"}.yaml())
		space.wait("pod/main", "condition=Ready")
		if got := space.sh("main", "grep ' /data ' /proc/mounts"); !strings.Contains(got, " "+fsType+" ") {
			t.Errorf("mounted as %q", got)
		}
	}
}

func (s *suite) block(t *testing.T) {
	space := newSpace(t)
	space.apply(claim{name: "disk", block: true}.yaml(),
		pod{name: "writer", devices: []string{"disk"}, script: "test -b /dev/disk; echo kept | dd of=/dev/disk bs=512 conv=sync,fsync"}.yaml())
	space.wait("pod/writer", "condition=Ready")
	space.kubectl("delete", "pod", "writer")
	space.apply(pod{name: "reader", devices: []string{"disk"}, script: "dd if=/dev/disk bs=512 count=1 | grep kept"}.yaml())
	space.wait("pod/reader", "condition=Ready")
	if got := strings.TrimSpace(space.sh("reader", "blockdev --getsize64 /dev/disk")); got != "536870912" {
		t.Errorf("the device has %s bytes", got)
	}
}

// ephemeral is a volume that lives and dies with its pod.
func (s *suite) ephemeral(t *testing.T) {
	space := newSpace(t)
	space.apply(pod{name: "main", script: "echo kept > /scratch/file; grep ' /scratch xfs ' /proc/mounts", more: []string{"scratch"},
		volumes: "{name: scratch, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 512Mi}}}}}}"}.yaml())
	space.wait("pod/main", "condition=Ready")
	space.kubectl("get", "pvc", "main-scratch")
	space.kubectl("delete", "pod", "main")
	await(t, "the claim goes with the pod", func() (bool, string) {
		left := space.kubectl("get", "pvc", "-o", "name")
		return left == "", left
	})
}

func (s *suite) fsGroup(t *testing.T) {
	space := newSpace(t)
	space.apply(claim{name: "data"}.yaml(), pod{name: "main", claims: []string{"data"}, script: "echo kept > /data/file",
		security: "runAsUser: 1000, runAsNonRoot: true, fsGroup: 2000"}.yaml())
	space.wait("pod/main", "condition=Ready")
	if got := strings.Fields(space.sh("main", "stat -c '%g %A' /data; stat -c '%u:%g' /data/file")); len(got) != 3 || got[0] != "2000" || got[2] != "1000:2000" {
		t.Errorf("group and mode of the volume, owners of a file: %q", got)
	}
}

func (s *suite) readOnly(t *testing.T) {
	space := newSpace(t)
	space.apply(claim{name: "data"}.yaml(), pod{name: "writer", claims: []string{"data"}, script: "echo kept > /data/file"}.yaml())
	space.wait("pod/writer", "condition=Ready")
	space.kubectl("delete", "pod", "writer")
	space.apply(pod{name: "reader", claims: []string{"data"}, readOnly: true, script: "grep kept /data/file; if touch /data/other; then exit 1; fi"}.yaml())
	space.wait("pod/reader", "condition=Ready")
}

func (s *suite) statefulSet(t *testing.T) {
	space := newSpace(t)
	space.apply(fmt.Sprintf(`apiVersion: apps/v1
kind: StatefulSet
metadata: {name: set}
spec:
  replicas: 5
  podManagementPolicy: Parallel
  serviceName: set
  persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete, whenScaled: Delete}
  selector: {matchLabels: {app: set}}
  template:
    metadata: {labels: {app: set}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: main
          image: %s
          command: [sh, -c, "test -e /data/name || hostname > /data/name; grep -x $(hostname) /data/name && exec sleep 100000"]
          volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 512Mi}}}
`, busyboxImage))
	space.wait("statefulset/set", "jsonpath={.status.availableReplicas}=5")
	// Each comes back to its own volume, or it would not become available.
	space.kubectl("rollout", "restart", "statefulset/set")
	space.kubectl("rollout", "status", "statefulset/set", "--timeout=200s")
	space.kubectl("scale", "statefulset/set", "--replicas=0")
	await(t, "the claims go with the pods", func() (bool, string) {
		left := space.kubectl("get", "pvc", "-o", "name")
		return left == "", left
	})
}

// twoPods have one ReadWriteOnce volume on one node: that mode is of the node, not of the pod.
func (s *suite) twoPods(t *testing.T) {
	space := newSpace(t)
	space.apply(claim{name: "data"}.yaml(), pod{name: "one", claims: []string{"data"}, script: "true"}.yaml(), pod{name: "two", claims: []string{"data"}, script: "true"}.yaml())
	space.wait("pod/one", "condition=Ready")
	space.wait("pod/two", "condition=Ready")
	space.sh("one", "echo kept > /data/file; sync")
	space.sh("two", "grep kept /data/file")
	space.kubectl("delete", "pod", "one")
	space.sh("two", "echo more >> /data/file; sync")
}

// oncePod is a volume for one pod: the second waits until the first is gone.
func (s *suite) oncePod(t *testing.T) {
	space := newSpace(t)
	space.apply(claim{name: "data", mode: "ReadWriteOncePod"}.yaml(), pod{name: "one", claims: []string{"data"}, script: "echo kept > /data/file"}.yaml())
	space.wait("pod/one", "condition=Ready")
	space.apply(pod{name: "two", claims: []string{"data"}, script: "grep kept /data/file"}.yaml())
	space.wait("pod/two", `jsonpath={.status.conditions[?(@.type=="PodScheduled")].reason}=Unschedulable`)
	space.kubectl("delete", "pod", "one")
	space.wait("pod/two", "condition=Ready")
}

// late is WaitForFirstConsumer with storage capacity: nothing is made before a pod needs it, and a claim that is
// larger than the array is not even tried.
func (s *suite) late(t *testing.T) {
	space := newSpace(t)
	await(t, "the free space is known", func() (bool, string) {
		found := kubectl(t, "get", "csistoragecapacities", "--all-namespaces", "-o", "jsonpath={.items[*].capacity}")
		return found != "", found
	})
	space.apply(claim{name: "small"}.yaml(), claim{name: "huge", size: "1Ti"}.yaml(), pod{name: "big", claims: []string{"huge"}}.yaml())
	space.wait("pod/big", `jsonpath={.status.conditions[?(@.type=="PodScheduled")].reason}=Unschedulable`)
	message := space.kubectl("get", "pod", "big", "-o", `jsonpath={.status.conditions[?(@.type=="PodScheduled")].message}`)
	if !strings.Contains(message, "did not have enough free storage") {
		t.Errorf("the scheduler says %q", message)
	}
	if phase := space.kubectl("get", "pvc", "small", "-o", "jsonpath={.status.phase}"); phase != "Pending" {
		t.Errorf("a claim that no pod needs is %s", phase)
	}
	space.apply(pod{name: "first", claims: []string{"small"}, script: "true"}.yaml())
	space.wait("pod/first", "condition=Ready")
}

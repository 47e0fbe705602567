package k8s

import (
	"fmt"
	"strings"
	"testing"
)

// space is a namespace of a test's own. At its end everything in it must go away, and with it each volume.
type space struct {
	t    *testing.T
	name string
}

func newSpace(t *testing.T) space {
	t.Helper()
	s := space{t, strings.ToLower(strings.NewReplacer("/", "-", "TestKubernetes", "t").Replace(t.Name()))}
	kubectl(t, "create", "namespace", s.name)
	t.Cleanup(func() {
		if t.Failed() {
			return // to be looked at, in the report
		}
		kubectl(t, "delete", "namespace", s.name, "--timeout=200s")
	})
	return s
}

// apply makes the objects of some YAML.
func (s space) apply(objects ...string) {
	s.t.Helper()
	run(s.t, strings.Join(objects, "\n---\n"), built("kubectl"), "apply", "--namespace="+s.name, "--filename=-")
}

func (s space) kubectl(args ...string) string {
	s.t.Helper()
	return kubectl(s.t, append([]string{"--namespace=" + s.name}, args...)...)
}

func (s space) wait(object, condition string) {
	s.t.Helper()
	waitFor(s.t, object, condition, "--namespace="+s.name)
}

// ready counts the pods that are.
func (s space) ready() int {
	s.t.Helper()
	return strings.Count(s.kubectl("get", "pods", "-o", `jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}`), "True")
}

// sh runs a script in a pod.
func (s space) sh(pod, script string) string {
	s.t.Helper()
	return s.kubectl("exec", pod, "--", "sh", "-c", script)
}

// claim is a PersistentVolumeClaim; class "" is the default.
type claim struct {
	name, class, size, mode string
	block                   bool
}

func (c claim) yaml() string {
	if c.size == "" {
		c.size = "512Mi"
	}
	if c.mode == "" {
		c.mode = "ReadWriteOnce"
	}
	spec := fmt.Sprintf("accessModes: [%s], resources: {requests: {storage: %s}}", c.mode, c.size)
	if c.class != "" {
		spec += ", storageClassName: " + c.class
	}
	if c.block {
		spec += ", volumeMode: Block"
	}
	return fmt.Sprintf("apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: %s}\nspec: {%s}\n", c.name, spec)
}

// pod runs a shell script and then waits. It has claims mounted at /<claim>, or as /dev/<claim>.
type pod struct {
	name, script string
	claims       []string
	devices      []string
	readOnly     bool
	security     string // securityContext of the pod
	volumes      string // more volumes, mounted at /<name>
	more         []string
}

func (p pod) yaml() string {
	var mounts, devices, volumes []string
	for _, name := range p.claims {
		mounts = append(mounts, fmt.Sprintf("{name: %s, mountPath: /%s, readOnly: %v}", name, name, p.readOnly))
		volumes = append(volumes, fmt.Sprintf("{name: %s, persistentVolumeClaim: {claimName: %s, readOnly: %v}}", name, name, p.readOnly))
	}
	for _, name := range p.devices {
		devices = append(devices, fmt.Sprintf("{name: %s, devicePath: /dev/%s}", name, name))
		volumes = append(volumes, fmt.Sprintf("{name: %s, persistentVolumeClaim: {claimName: %s}}", name, name))
	}
	for _, name := range p.more {
		mounts = append(mounts, fmt.Sprintf("{name: %s, mountPath: /%s}", name, name))
	}
	if p.volumes != "" {
		volumes = append(volumes, p.volumes)
	}
	script := strings.ReplaceAll(p.script, `"`, `\"`)
	return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {%s}
  containers:
    - name: main
      image: %s
      imagePullPolicy: Never
      command: [sh, -c, "set -e; %s; touch /tmp/ready; trap 'exit 0' TERM; sleep 100000 & wait"]
      readinessProbe: {exec: {command: [test, -e, /tmp/ready]}, periodSeconds: 1}
      volumeMounts: [%s]
      volumeDevices: [%s]
  volumes: [%s]
`, p.name, p.security, busyboxImage, script, strings.Join(mounts, ", "), strings.Join(devices, ", "), strings.Join(volumes, ", "))
}

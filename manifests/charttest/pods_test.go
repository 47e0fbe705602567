package charttest

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// The program itself takes the flags that the pods give it; docs/reference/flags.md has the same ones.
func TestTheProgramKnowsTheFlags(t *testing.T) {
	program := filepath.Join(t.TempDir(), "rds-csi-plugin")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../cmd/rds-csi-plugin").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	each(t, func(t *testing.T, o objects) {
		for _, pod := range []corev1.PodTemplateSpec{o.controller(t), o.node(t)} {
			args := container(t, pod, "driver").Args
			if len(args) < 6 {
				t.Fatalf("only %v", args)
			}
			out, err := exec.CommandContext(t.Context(), program, append(slices.Clone(args), "--version")...).CombinedOutput()
			if err != nil {
				t.Errorf("%v: %v\n%s", args, err, out)
			}
		}
	})
}

// Whoever reads the driver's environment finds each variable explained.
func TestTheVariablesAreThoseOfTheReference(t *testing.T) {
	telemetry := read(t, "../../docs/reference/telemetry-environment.md")
	flags := read(t, "../../docs/reference/flags.md")
	own := []string{"NODE_NAME", "POD_NAME", "POD_NAMESPACE", "POD_UID", "GOMEMLIMIT"}
	seen := map[string]bool{}
	each(t, func(t *testing.T, o objects) {
		for _, pod := range []corev1.PodTemplateSpec{o.controller(t), o.node(t)} {
			for _, env := range container(t, pod, "driver").Env {
				seen[env.Name] = true
				if !strings.Contains(telemetry, "| `"+env.Name+"`") && !strings.Contains(flags, "| `"+env.Name+"`") && !slices.Contains(own, env.Name) {
					t.Errorf("%s is in no reference", env.Name)
				}
			}
		}
	})
	for _, want := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_HEADERS", "RDS_CSI_RDS_HOST_KEY"} {
		if !seen[want] {
			t.Errorf("no value set leads to %s", want)
		}
	}
}

// A pod may be killed only when the driver has had its time: see serve in cmd/rds-csi-plugin.
func TestTheGracePeriodFitsTheShutdown(t *testing.T) {
	source := read(t, "../../cmd/rds-csi-plugin/run.go")
	var needs time.Duration
	for _, name := range []string{"stopGrace", "flushGrace"} {
		m := regexp.MustCompile(name + `\s*= (\d+) \* time\.Second`).FindStringSubmatch(source)
		if m == nil {
			t.Fatalf("%s is not in run.go", name)
		}
		d, err := time.ParseDuration(m[1] + "s")
		if err != nil {
			t.Fatal(err)
		}
		needs += d
	}
	each(t, func(t *testing.T, o objects) {
		for _, pod := range []corev1.PodTemplateSpec{o.controller(t), o.node(t)} {
			if has := time.Duration(*pod.Spec.TerminationGracePeriodSeconds) * time.Second; has < needs+5*time.Second {
				t.Errorf("a pod gets %s to stop, and needs %s and a little", has, needs)
			}
		}
	})
	if !strings.Contains(read(t, chart+"/values.schema.json"), `"terminationGracePeriodSeconds": {"type": "integer", "minimum": `+strings.TrimSuffix(needs.String(), "s")) {
		t.Errorf("the schema allows less than the %s that the driver needs", needs)
	}
}

// Only the node's driver is privileged; everything else has nothing that it does not need.
func TestOnlyTheNodeDriverIsPrivileged(t *testing.T) {
	each(t, func(t *testing.T, o objects) {
		controller, node := o.controller(t), o.node(t)
		if s := controller.Spec.SecurityContext; s == nil || !*s.RunAsNonRoot || *s.RunAsUser == 0 || controller.Spec.HostNetwork || s.SeccompProfile.Type != "RuntimeDefault" {
			t.Error("the controller is not confined")
		}
		if !node.Spec.HostNetwork || node.Spec.HostPID || node.Spec.DNSPolicy != corev1.DNSClusterFirstWithHostNet {
			t.Error("the node plugin needs the host's network and the cluster's DNS, and no process ids")
		}
		for _, c := range append(controller.Spec.Containers, node.Spec.Containers...) {
			s := c.SecurityContext
			if s == nil || !*s.ReadOnlyRootFilesystem {
				t.Fatalf("%s: its root is writable", c.Name)
			}
			if s.Privileged != nil && *s.Privileged {
				if c.Name != "driver" || !slices.Contains(c.Args, "--node") {
					t.Errorf("%s is privileged", c.Name)
				}
				continue
			}
			if *s.AllowPrivilegeEscalation || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 {
				t.Errorf("%s: %+v", c.Name, s)
			}
		}
	})
}

// The registrar, which is not privileged, talks to a privileged container's socket: SELinux allows that to its type only.
// Nobody else has a type of its own choice.
func TestOnlyTheRegistrarChoosesItsSELinuxType(t *testing.T) {
	each(t, func(t *testing.T, o objects) {
		for _, c := range append(o.controller(t).Spec.Containers, o.node(t).Spec.Containers...) {
			options := c.SecurityContext.SELinuxOptions
			if c.Name == "registrar" {
				if options == nil || *options != (corev1.SELinuxOptions{Type: "spc_t"}) {
					t.Errorf("the registrar has %+v", options)
				}
			} else if options != nil {
				t.Errorf("%s has %+v", c.Name, options)
			}
		}
	})
}

// The array's state must never restart a pod: /livez is of the process alone, and no livenessprobe sidecar asks CSI.
func TestProbesAskTheDriverItself(t *testing.T) {
	each(t, func(t *testing.T, o objects) {
		for _, pod := range []corev1.PodTemplateSpec{o.controller(t), o.node(t)} {
			c := container(t, pod, "driver")
			live, ready := c.LivenessProbe.HTTPGet, c.ReadinessProbe.HTTPGet
			if live.Path != "/livez" || ready.Path != "/readyz" || live.Port != intstr.FromString("metrics") || ready.Port != live.Port {
				t.Errorf("probes are %+v and %+v", live, ready)
			}
			port, tls := c.Ports[0].ContainerPort, slices.ContainsFunc(c.Args, func(a string) bool { return strings.HasPrefix(a, "--metrics-tls-cert=") })
			if !slices.Contains(c.Args, fmt.Sprintf("--metrics-address=:%d", port)) || (live.Scheme == "HTTPS") != tls || ready.Scheme != live.Scheme {
				t.Errorf("port %d, %s, with the flags %v", port, live.Scheme, c.Args)
			}
			for _, other := range pod.Spec.Containers {
				if strings.Contains(other.Image, "livenessprobe") {
					t.Error("a livenessprobe is there")
				}
			}
		}
	})
}

// mounts are the host's directories in the node's driver, by their path there: "to path, propagation, rw".
func mounts(t *testing.T, pod corev1.PodTemplateSpec, name string) map[string]string {
	t.Helper()
	paths := map[string]string{}
	for _, v := range pod.Spec.Volumes {
		if v.HostPath != nil {
			paths[v.Name] = v.HostPath.Path
		}
	}
	found := map[string]string{}
	for _, m := range container(t, pod, name).VolumeMounts {
		if paths[m.Name] == "" {
			continue
		}
		how := "rw"
		if m.ReadOnly {
			how = "ro"
		}
		if m.MountPropagation != nil {
			how += " " + string(*m.MountPropagation)
		}
		found[paths[m.Name]] = m.MountPath + " " + how
	}
	return found
}

func TestTheNodeSeesTheHost(t *testing.T) {
	each(t, func(t *testing.T, o objects) {
		kubelet, name := "/var/lib/kubelet", o.drivers[0].Name
		if name == "fast.csi.example.net" {
			kubelet = "/var/lib/k0s/kubelet"
		}
		plugin := kubelet + "/plugins/" + name
		want := map[string]string{
			kubelet: kubelet + " rw Bidirectional", plugin: "/csi rw", "/dev": "/dev rw", "/sys": "/sys rw",
			"/lib/modules": "/lib/modules ro", "/run/dbus": "/run/dbus ro", "/etc/machine-id": "/etc/machine-id ro",
		}
		if kubelet != "/var/lib/kubelet" { // the same value set turns it off
			delete(want, "/etc/machine-id")
		}
		if slices.Contains(container(t, o.node(t), "driver").Args, "--dev-loop-dir=/srv/rds-sim") {
			want["/srv/rds-sim"] = "/srv/rds-sim rw"
		}
		if got := mounts(t, o.node(t), "driver"); !maps.Equal(got, want) {
			t.Errorf("the driver has %v\nwant %v", got, want)
		}
		registrar := map[string]string{plugin: "/csi rw", kubelet + "/plugins_registry": "/registration rw"}
		if got := mounts(t, o.node(t), "registrar"); !maps.Equal(got, registrar) {
			t.Errorf("the registrar has %v\nwant %v", got, registrar)
		}
		if !slices.Contains(container(t, o.node(t), "registrar").Args, "--kubelet-registration-path="+plugin+"/csi.sock") {
			t.Error("the registrar tells the kubelet another socket")
		}
	})
}

// A node plugin that waits for its own taint to go away would wait for ever.
func TestTheNodePluginStartsInSpiteOfItsTaint(t *testing.T) {
	each(t, func(t *testing.T, o objects) {
		pod := o.node(t)
		for _, arg := range container(t, pod, "driver").Args {
			key, given := strings.CutPrefix(arg, "--startup-taint=")
			if given && !slices.ContainsFunc(pod.Spec.Tolerations, func(t corev1.Toleration) bool { return t.Key == key && t.Operator == "Exists" }) {
				t.Errorf("%s is not tolerated: %v", key, pod.Spec.Tolerations)
			}
		}
	})
}

// Names that must be the same in several objects.
func TestTheDriversNameIsOne(t *testing.T) {
	each(t, func(t *testing.T, o objects) {
		name := o.drivers[0].Name
		for _, pod := range []corev1.PodTemplateSpec{o.controller(t), o.node(t)} {
			if !slices.Contains(container(t, pod, "driver").Args, "--driver-name="+name) {
				t.Errorf("a driver is not called %s", name)
			}
		}
		for _, class := range o.classes {
			if class.Provisioner != name {
				t.Errorf("class %s is %s's", class.Name, class.Provisioner)
			}
		}
	})
}

func TestCSIDriver(t *testing.T) {
	each(t, func(t *testing.T, o objects) {
		s := o.drivers[0].Spec
		if !*s.AttachRequired || !*s.PodInfoOnMount || !*s.StorageCapacity || !*s.SELinuxMount || *s.FSGroupPolicy != storagev1.FileFSGroupPolicy {
			t.Errorf("%+v", s)
		}
		// What it promises the scheduler, the provisioner must publish: else pods stay pending for ever.
		c := container(t, o.controller(t), "provisioner")
		for _, flag := range []string{"--enable-capacity", "--capacity-ownerref-level=2", "--extra-create-metadata", "--leader-election"} {
			if !slices.Contains(c.Args, flag) {
				t.Errorf("the provisioner has no %s", flag)
			}
		}
		if names := []string{c.Env[0].Name, c.Env[1].Name}; !slices.Equal(names, []string{"NAMESPACE", "POD_NAME"}) {
			t.Errorf("the provisioner is told %v", names)
		}
	})
}

func TestImagesArePinned(t *testing.T) {
	pinned := regexp.MustCompile(`^[^:@]+(/[^:@]+)+:v?\d+\.\d+\.\d+(@sha256:[0-9a-f]{64})?$`)
	each(t, func(t *testing.T, o objects) {
		for _, c := range append(o.controller(t).Spec.Containers, o.node(t).Spec.Containers...) {
			if !pinned.MatchString(c.Image) {
				t.Errorf("%s: %s", c.Name, c.Image)
			}
		}
	})
	if data, err := os.ReadFile(chart + "/Chart.yaml"); err != nil || !regexp.MustCompile(`(?m)^version: (\S+)\nappVersion: (\S+)$`).Match(data) {
		t.Errorf("Chart.yaml: %v", err)
	}
}

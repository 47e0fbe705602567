package k8s

import (
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const (
	chartDir  = "../../../manifests/chart"
	release   = "rds-csi-driver"
	namespace = "rds-csi"
)

// sidecars are the images that the chart names, by the name of the sidecar.
func sidecars(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(chartDir + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var values struct {
		Sidecars map[string]yaml.Node `yaml:"sidecars"`
	}
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	images := map[string]string{}
	for name, node := range values.Sidecars {
		var sidecar struct {
			Image string `yaml:"image"`
		}
		if node.Decode(&sidecar) == nil && sidecar.Image != "" {
			images[name] = sidecar.Image
		}
	}
	if len(images) != 4 {
		t.Fatalf("the chart names the sidecars %v", images)
	}
	return images
}

// installDriver does what a user does: a Secret, and the chart with the array's address. Beside these only what
// the place asks for is set: loop devices, and images that cannot be pulled.
func installDriver(t *testing.T, a *array, more ...string) {
	t.Helper()
	kubectl(t, "create", "secret", "generic", "rds-csi-array", "--namespace="+namespace,
		"--from-file=ssh-key="+under("array/client_key"), "--from-literal=host-key="+a.hostKey)
	helm(t, append([]string{"install", release, chartDir}, more...)...)
	waitFor(t, "deployment/"+release+"-controller", "condition=Available", "--namespace="+namespace)
	await(t, "kubelet knows the driver", func() (bool, string) {
		out := kubectl(t, "get", "csinode", nodeName, "-o", "jsonpath={.spec.drivers[*].name}")
		return slices.Contains(strings.Fields(out), driverName), out
	})
}

func helm(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, "", append(append([]string{built("helm")}, args...), "--namespace="+namespace, "--values="+values(t))...)
}

func values(t *testing.T) string {
	t.Helper()
	return write(t, "values.yaml", strings.NewReplacer("IP", nodeIP, "DIR", under("array")).Replace(`
array: {address: IP}
image: {tag: e2e, pullPolicy: Never}
sidecars: {pullPolicy: Never}
dev: {loopDir: DIR}
node:
  extraEnv: [{name: PATH, value: "DIR/bin:/usr/sbin:/usr/bin:/sbin:/bin"}]
storageClasses:
  - {name: rds, fsType: xfs, default: true}
  - {name: rds-ext4, fsType: ext4}
  - {name: rds-btrfs, fsType: btrfs}
  - {name: rds-now, fsType: xfs, volumeBindingMode: Immediate}
`))
}

// Package k8s tests the driver on a real Kubernetes of one node: API server, scheduler, controller manager, kubelet,
// containerd and the real sidecars, with the driver installed from its chart and running in pods, on the simulated
// array with loop devices. scripts/e2e-k8s runs it, in namespaces of its own; anywhere else it is left out.
package k8s

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

const (
	// environment variables of scripts/e2e-k8s
	buildVar  = "RDS_E2E_K8S"        // what scripts/k8s-build has built
	dirVar    = "RDS_E2E_K8S_DIR"    // for all that the cluster writes
	cgroupVar = "RDS_E2E_K8S_CGROUP" // the parent of all its cgroups

	nodeName = "node-1"
	nodeIP   = "10.99.0.1"

	driverName  = "rds.csi.srvlab.io"
	driverImage = "git.srvlab.io/whiskey/rds-csi-driver:e2e"
)

func TestMain(m *testing.M) {
	if os.Getenv(dirVar) == "" {
		fmt.Println("k8s: left out: the tests on a real Kubernetes; scripts/e2e-k8s runs them")
		return
	}
	os.Exit(m.Run())
}

// built is a program of scripts/k8s-build.
func built(name string) string { return filepath.Join(os.Getenv(buildVar), "bin", name) }

// debian is a program that scripts/k8s-build has unpacked.
func debian(name string) string { return filepath.Join(os.Getenv(buildVar), "debian", name) }

// under is a path in the cluster's directory.
func under(elements ...string) string {
	return filepath.Join(append([]string{os.Getenv(dirVar)}, elements...)...)
}

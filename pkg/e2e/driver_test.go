package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
)

// startArray runs a simulated array in the test's own process, so that it can be looked into.
func startArray(t *testing.T, o rdssim.Options) *rdssim.Array {
	t.Helper()
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "array")
	}
	if len(o.Pools) == 0 {
		o.Pools = []rdssim.Pool{{Name: "storage-pool", FS: "btrfs", Size: 1 << 40}}
	}
	array, err := rdssim.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := array.Close(); err != nil {
			t.Error(err)
		}
	})
	return array
}

// service is a driver process with a connection to it.
type service struct {
	*program.Process
	conn    *grpc.ClientConn
	metrics string // base URL
}

// startController runs the driver's controller against an array. Later flags win.
func startController(t *testing.T, array *rdssim.Array, env []string, flags ...string) *service {
	t.Helper()
	return startDriver(t, env, append(append([]string{"--controller"}, array.DriverFlags()...), flags...)...)
}

// startDriver runs the driver with a socket and a metrics port of its own. Later flags win.
func startDriver(t *testing.T, env []string, flags ...string) *service {
	t.Helper()
	dir, address := t.TempDir(), program.FreeAddress(t)
	args := append([]string{
		"--cluster-id=e2e", "--endpoint=unix://" + filepath.Join(dir, "csi.sock"), "--metrics-address=" + address,
	}, flags...)
	s := &service{Process: program.Begin(t, built("rds-csi-plugin"), env, args...), metrics: "http://" + address}
	program.Await(t, "the driver serves", func() bool { return strings.Contains(s.Stderr.String(), "serving CSI") })
	conn, err := grpc.NewClient("unix://"+filepath.Join(dir, "csi.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	s.conn = conn
	return s
}

func createRequest(name string) *csi.CreateVolumeRequest {
	return &csi.CreateVolumeRequest{
		Name:          name,
		CapacityRange: &csi.CapacityRange{RequiredBytes: 1 << 30},
		VolumeCapabilities: []*csi.VolumeCapability{{
			AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		}},
	}
}

// create makes a volume and tells how long that took.
func (s *service) create(t *testing.T, name string) time.Duration {
	t.Helper()
	start := time.Now()
	if _, err := csi.NewControllerClient(s.conn).CreateVolume(program.Soon(t), createRequest(name)); err != nil {
		t.Fatal(err)
	}
	return time.Since(start)
}

func (s *service) createMany(t *testing.T, prefix string, n int) []time.Duration {
	t.Helper()
	var took []time.Duration
	for i := range n {
		took = append(took, s.create(t, fmt.Sprint(prefix, i)))
	}
	return took
}

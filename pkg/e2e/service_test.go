package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
)

func TestMistakesOnTheCommandLineAreOneSentence(t *testing.T) {
	for name, tt := range map[string]struct {
		program string
		args    []string
		env     []string
		says    []string
	}{
		"nothing":             {"rds-csi-plugin", nil, nil, []string{"--controller", "--node"}},
		"unknown flag":        {"rds-csi-plugin", []string{"--contoller"}, nil, []string{"contoller", "-h"}},
		"unknown word":        {"rds-csi-plugin", []string{"serve"}, nil, []string{`"serve"`, "-h"}},
		"no cluster":          {"rds-csi-plugin", []string{"--node"}, nil, []string{"--cluster-id", "kube-system"}},
		"no node":             {"rds-csi-plugin", []string{"--node", "--cluster-id=c"}, nil, []string{"--node-id"}},
		"no array":            {"rds-csi-plugin", []string{"--controller", "--cluster-id=c"}, nil, []string{"--rds-address"}},
		"no host key":         {"rds-csi-plugin", []string{"--controller", "--cluster-id=c", "--rds-address=a", "--rds-key-file=k"}, nil, []string{"--rds-host-key", "ssh-keyscan"}},
		"no such key file":    {"rds-csi-plugin", []string{"--controller", "--cluster-id=c", "--rds-address=a", "--rds-key-file=k", "--rds-host-key=nope"}, nil, []string{"nope"}},
		"bad endpoint":        {"rds-csi-plugin", []string{"--node", "--cluster-id=c", "--node-id=n", "--endpoint=tcp://x"}, nil, []string{"--endpoint", "unix:///"}},
		"long endpoint":       {"rds-csi-plugin", []string{"--node", "--cluster-id=c", "--node-id=n", "--endpoint=unix:///" + strings.Repeat("x", 107)}, nil, []string{"--endpoint", "107"}},
		"bad log level":       {"rds-csi-plugin", []string{"--node", "--cluster-id=c", "--node-id=n", "--log-level=loud"}, nil, []string{"loud", "debug"}},
		"bad environment":     {"rds-csi-plugin", nil, []string{"RDS_CSI_NVME_PORT=many"}, []string{"RDS_CSI_NVME_PORT", "many"}},
		"bad port":            {"rds-csi-plugin", []string{"--controller", "--cluster-id=c", "--rds-address=a", "--rds-key-file=k", "--rds-host-key=x", "--nvme-port=0"}, nil, []string{"--nvme-port"}},
		"bad orphan grace":    {"rds-csi-plugin", []string{"--controller", "--cluster-id=c", "--rds-address=a", "--rds-key-file=k", "--rds-host-key=x", "--orphan-grace=0s"}, nil, []string{"--orphan-grace", "10m"}},
		"bad node":            {"rds-csi-plugin", []string{"--node", "--cluster-id=c", "--node-id=bad_name!"}, nil, []string{"--node-id"}},
		"bad driver name":     {"rds-csi-plugin", []string{"--node", "--cluster-id=c", "--node-id=n", "--driver-name=Bad Name/slash"}, nil, []string{"--driver-name"}},
		"port in address":     {"rds-csi-plugin", []string{"--controller", "--cluster-id=c", "--rds-address=1.2.3.4:22", "--rds-key-file=k", "--rds-host-key=x"}, nil, []string{"--rds-address", "--rds-port"}},
		"bad cluster":         {"rds-csi-plugin", []string{"--node", "--cluster-id=a b"}, nil, []string{"--cluster-id"}},
		"bad data path":       {"rds-csi-plugin", []string{"demo", "--data-path=carrier-pigeon"}, nil, []string{"--data-path", "loop"}},
		"bad latency":         {"rds-csi-plugin", []string{"demo", "--array-latency=fast"}, nil, []string{"array-latency"}},
		"simulator, no dir":   {"rds-sim", nil, nil, []string{"--dir"}},
		"simulator, bad pool": {"rds-sim", []string{"--dir=/nonexistent", "--pool=x"}, nil, []string{"pool"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := program.Begin(t, built(tt.program), tt.env, tt.args...)
			code := p.Code(t)
			message := p.Stderr.String()
			if code != 2 || strings.Count(message, "\n") != 1 || strings.Contains(message, "goroutine") {
				t.Errorf("exit code %d, want 2 and one line:\n%s", code, message)
			}
			for _, want := range tt.says {
				if !strings.Contains(message, want) {
					t.Errorf("%q does not say %q", message, want)
				}
			}
		})
	}
}

func TestHelpAndVersionAreNoMistakes(t *testing.T) {
	for _, args := range [][]string{{"-h"}, {"--version"}, {"demo", "-h"}} {
		p := program.Begin(t, built("rds-csi-plugin"), nil, args...)
		if code := p.Code(t); code != 0 || p.Stdout.String() == "" || p.Stderr.String() != "" {
			t.Errorf("%v: exit code %d\n%s%s", args, code, p.Stdout, p.Stderr)
		}
	}
}

func TestAnArrayThatIsAwayAtStartIsWaitedFor(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "array")
	array := startArray(t, rdssim.Options{Dir: dir})
	address := array.SSHAddr()
	if err := array.Close(); err != nil {
		t.Fatal(err)
	}
	s := startController(t, array, nil)
	probe, err := csi.NewIdentityClient(s.conn).Probe(program.Soon(t), &csi.ProbeRequest{})
	if err != nil || !probe.GetReady().GetValue() {
		t.Errorf("probe: %v, %v", probe, err)
	}
	_, err = csi.NewControllerClient(s.conn).CreateVolume(program.Soon(t), createRequest("a"))
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), address) {
		t.Errorf("create: %v", err)
	}
	program.Await(t, "the first look", func() bool { return strings.Contains(s.Stderr.String(), "the array cannot be used") })
	if body := get(t, s.metrics+"/readyz", http.StatusServiceUnavailable); !strings.Contains(body, "array rds") {
		t.Errorf("/readyz: %s", body)
	}
	get(t, s.metrics+"/livez", http.StatusOK)
	if body := get(t, s.metrics+"/metrics", http.StatusOK); !strings.Contains(body, `rds_csi_backend_up{array="rds"} 0`) {
		t.Error("/metrics does not say that the array is away")
	}
	startArray(t, rdssim.Options{Dir: dir, SSHAddress: address})
	program.Await(t, "it recovers by itself", func() bool { return strings.Contains(s.Stderr.String(), "the array can be used") })
	s.create(t, "a")
	get(t, s.metrics+"/readyz", http.StatusOK)
}

func TestAWrongHostKeyIsRefusedWithBothFingerprints(t *testing.T) {
	array := startArray(t, rdssim.Options{})
	const wrong = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	s := startController(t, array, nil, "--rds-host-key="+wrong)
	_, err := csi.NewControllerClient(s.conn).CreateVolume(program.Soon(t), createRequest("a"))
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), wrong) || !strings.Contains(err.Error(), array.HostKeyFingerprint()) {
		t.Errorf("create: %v", err)
	}
}

func TestAWrongUserKeyIsUnavailable(t *testing.T) {
	array, other := startArray(t, rdssim.Options{}), startArray(t, rdssim.Options{})
	s := startController(t, array, nil, "--rds-key-file="+other.ClientKeyFile())
	_, err := csi.NewControllerClient(s.conn).CreateVolume(program.Soon(t), createRequest("a"))
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "csi") {
		t.Errorf("create: %v", err)
	}
	key, readErr := os.ReadFile(other.ClientKeyFile())
	if readErr != nil {
		t.Fatal(readErr)
	}
	secret := strings.Split(string(key), "\n")[2]
	if strings.Contains(s.Stderr.String(), secret) || strings.Contains(err.Error(), secret) {
		t.Error("the private key is in the log or the error")
	}
}

func TestAMetricsPortThatIsTakenNeverStopsCSI(t *testing.T) {
	array := startArray(t, rdssim.Options{})
	first := startController(t, array, nil)
	second := startController(t, array, nil, "--metrics-address="+strings.TrimPrefix(first.metrics, "http://"))
	second.create(t, "a")
	program.Await(t, "the log says so", func() bool { return strings.Contains(second.Stderr.String(), "address already in use") })
	first.Signal(t, syscall.SIGTERM)
	if code := first.Code(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	program.Await(t, "the second takes over", func() bool {
		resp, err := http.Get(first.metrics + "/livez")
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	})
}

func TestSIGTERMLetsACallFinish(t *testing.T) {
	array := startArray(t, rdssim.Options{Latency: 300 * time.Millisecond})
	s := startController(t, array, nil)
	answered := make(chan error, 1)
	ctx := program.Soon(t)
	go func() {
		_, err := csi.NewControllerClient(s.conn).CreateVolume(ctx, createRequest("a"))
		answered <- err
	}()
	program.Await(t, "the call is under way", func() bool { return array.Execs() > 1 })
	s.Signal(t, syscall.SIGTERM)
	if err := <-answered; err != nil {
		t.Errorf("the call under way: %v", err)
	}
	if code := s.Code(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Stat(strings.TrimPrefix(s.conn.Target(), "unix://")); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

// The count of execs is exact. The median is a figure of this machine too, so the best of three rounds counts.
func TestCreateVolumeCostsTwoTripsToTheArray(t *testing.T) {
	array := startArray(t, rdssim.Options{Latency: 20 * time.Millisecond})
	s := startController(t, array, nil)
	s.create(t, "first") // dials, and asks for the version
	var medians []time.Duration
	for round := range 3 {
		before := array.Execs()
		took := s.createMany(t, fmt.Sprint("round", round, "-"), 50)
		if got := array.Execs() - before; got > 100+3 { // the driver looks at the array now and then
			t.Errorf("50 creates took %d execs", got)
		}
		medians = append(medians, median(took))
		t.Logf("median of 50 CreateVolume at 20 ms array latency: %s", medians[round])
		if medians[round] < 60*time.Millisecond {
			return
		}
	}
	t.Errorf("medians %v, want one under 60 ms", medians)
}

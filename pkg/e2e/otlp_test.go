package e2e

import (
	"slices"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry/otlptest"
)

// The whole tree arrives, also the last batch: the demo ends right after its last call.
func TestTracesReachAnOTLPReceiver(t *testing.T) {
	needRoot(t)
	dir, leftNothing := leavesNothing(t)
	r := otlptest.StartReceiver(t)
	p := program.Begin(t, built("rds-csi-plugin"), append(r.Environment(), "TMPDIR="+dir), "demo", "--json", "--metrics-address=")
	if code := p.Code(t); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if complete, stage := r.HasInOrder("csi.v1.Node/NodeStageVolume", "nvme.connect", "nvme.device.wait", "fs.probe", "exec mkfs.", "mount"); !complete {
		t.Errorf("children of NodeStageVolume: %v", stage)
	}
	if create := r.Children("csi.v1.Controller/CreateVolume"); !slices.Contains(create, "routeros disk_prepare") || !slices.Contains(create, "routeros disk_add") {
		t.Errorf("children of CreateVolume: %v", create)
	}
	if last := r.Children("csi.v1.Controller/DeleteVolume"); !slices.Contains(last, "routeros disk_remove") {
		t.Errorf("children of DeleteVolume: %v", last)
	}
	leftNothing()
}

// A collector that is not there costs no call anything. Both drivers use one array, call by call in turn,
// so that the machine's mood hits both; the best of three rounds counts.
func TestACollectorThatIsAwayCostsNothing(t *testing.T) {
	array := startArray(t, rdssim.Options{Latency: 20 * time.Millisecond})
	nobody := program.FreeAddress(t)
	without := startController(t, array, nil, "--cluster-id=without")
	with := startController(t, array, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + nobody}, "--cluster-id=with")
	without.create(t, "first")
	with.create(t, "first")
	var ratios []float64
	for range 3 {
		var a, b []time.Duration
		for i := range 50 {
			name := time.Now().Format("150405.000000000") + string(rune('a'+i%26))
			a = append(a, without.create(t, name))
			b = append(b, with.create(t, name))
		}
		ratios = append(ratios, float64(median(b))/float64(median(a)))
		t.Logf("median of 50 CreateVolume: %s without traces, %s with a collector that is away", median(a), median(b))
		if ratios[len(ratios)-1] <= 1.05 {
			return
		}
	}
	t.Errorf("ratios of the medians %v, want at most 1.05 in one round", ratios)
}

func median(d []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(d))
	return sorted[len(sorted)/2]
}

package e2e

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
)

// receiver is a real OTLP receiver over gRPC that keeps the spans it gets.
type receiver struct {
	collector.UnimplementedTraceServiceServer
	address string
	mu      sync.Mutex
	spans   []*trace.Span
}

func (r *receiver) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range req.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			r.spans = append(r.spans, scope.GetSpans()...)
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func startReceiver(t *testing.T) *receiver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{address: l.Addr().String()}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, r)
	go func() { _ = server.Serve(l) }() // ends with Stop
	t.Cleanup(server.Stop)
	return r
}

// children names the spans below the newest span of that name, in the order in which they began.
func (r *receiver) children(name string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	spans := slices.Clone(r.spans)
	slices.SortFunc(spans, func(a, b *trace.Span) int { return int(a.GetStartTimeUnixNano()) - int(b.GetStartTimeUnixNano()) })
	var parent *trace.Span
	for _, s := range spans {
		if s.GetName() == name {
			parent = s
		}
	}
	var names []string
	for _, s := range spans {
		if parent != nil && string(s.GetParentSpanId()) == string(parent.GetSpanId()) {
			names = append(names, s.GetName())
		}
	}
	return names
}

// The whole tree arrives, also the last batch: the demo ends right after its last call.
func TestTracesReachAnOTLPReceiver(t *testing.T) {
	needRoot(t)
	dir, leftNothing := leavesNothing(t)
	r := startReceiver(t)
	env := []string{"TMPDIR=" + dir, "OTEL_EXPORTER_OTLP_ENDPOINT=http://" + r.address, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}
	p := program.Begin(t, built("rds-csi-plugin"), env, "demo", "--json", "--metrics-address=")
	if code := p.Code(t); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	stage := r.children("csi.v1.Node/NodeStageVolume")
	at := -1
	for _, want := range []string{"nvme.connect", "nvme.device.wait", "fs.probe", "exec mkfs.", "mount"} {
		next := slices.IndexFunc(stage[at+1:], func(name string) bool { return strings.HasPrefix(name, want) })
		if next < 0 {
			t.Fatalf("no %s in its place in %v", want, stage)
		}
		at += 1 + next
	}
	if create := r.children("csi.v1.Controller/CreateVolume"); !slices.Contains(create, "routeros disk_prepare") || !slices.Contains(create, "routeros disk_add") {
		t.Errorf("children of CreateVolume: %v", create)
	}
	if last := r.children("csi.v1.Controller/DeleteVolume"); !slices.Contains(last, "routeros disk_remove") {
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

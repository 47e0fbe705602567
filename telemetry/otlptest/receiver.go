// Package otlptest has an OTLP receiver for tests of whole programs.
package otlptest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
)

// Receiver is a real OTLP receiver over gRPC that keeps the spans it gets.
type Receiver struct {
	collector.UnimplementedTraceServiceServer
	address string
	mu      sync.Mutex
	spans   []*trace.Span
}

// Export implements the collector's service.
func (r *Receiver) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range req.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			r.spans = append(r.spans, scope.GetSpans()...)
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// StartReceiver listens on loopback until the test ends.
func StartReceiver(t *testing.T) *Receiver {
	t.Helper()
	return StartReceiverAt(t, "127.0.0.1:0")
}

// StartReceiverAt listens at a host:port until the test ends.
func StartReceiverAt(t *testing.T, address string) *Receiver {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	r := &Receiver{address: l.Addr().String()}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, r)
	go func() { _ = server.Serve(l) }() // ends with Stop
	t.Cleanup(server.Stop)
	return r
}

// Spans are all that have come so far.
func (r *Receiver) Spans() []*trace.Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.spans)
}

// Environment makes a program send its traces here.
func (r *Receiver) Environment() []string {
	return []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + r.address, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}
}

// HasInOrder tells whether spans whose names begin like these are below the newest span of that name, one
// after the other, and gives all that are.
func (r *Receiver) HasInOrder(name string, begin ...string) (bool, []string) {
	children := r.Children(name)
	rest := children
	for _, want := range begin {
		next := slices.IndexFunc(rest, func(name string) bool { return strings.HasPrefix(name, want) })
		if next < 0 {
			return false, children
		}
		rest = rest[next+1:]
	}
	return true, children
}

// Children names the spans below the newest span of that name, in the order in which they began.
func (r *Receiver) Children(name string) []string {
	var names []string
	for _, line := range r.Tree(name) {
		if child, direct := strings.CutPrefix(line, indent); direct && !strings.HasPrefix(child, indent) {
			names = append(names, child)
		}
	}
	return names
}

const indent = "    "

// Tree is the newest span of that name and all below it, indented, in the order in which they began. It is
// empty as long as there is none.
func (r *Receiver) Tree(name string) []string {
	r.mu.Lock()
	spans := slices.Clone(r.spans)
	r.mu.Unlock()
	slices.SortStableFunc(spans, func(a, b *trace.Span) int { return cmp.Compare(a.GetStartTimeUnixNano(), b.GetStartTimeUnixNano()) })
	for _, s := range slices.Backward(spans) {
		if s.GetName() == name {
			return append([]string{name}, below(spans, s.GetSpanId(), indent)...)
		}
	}
	return nil
}

// Newest is the id of the span of that name that came last; "" as long as there is none. Those below it
// have come by then.
func (r *Receiver) Newest(name string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range slices.Backward(r.spans) {
		if s.GetName() == name {
			return hex.EncodeToString(s.GetSpanId())
		}
	}
	return ""
}

func below(spans []*trace.Span, parent []byte, by string) (lines []string) {
	for _, s := range spans {
		if bytes.Equal(s.GetParentSpanId(), parent) {
			lines = append(append(lines, by+s.GetName()), below(spans, s.GetSpanId(), by+indent)...)
		}
	}
	return lines
}

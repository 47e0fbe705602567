package export

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// receiver is an OTLP receiver: the real wire protocol, kept in memory.
type receiver struct {
	coltrace.UnimplementedTraceServiceServer
	mu         sync.Mutex
	got        []*tracepb.ResourceSpans
	gotMetrics []*metricspb.ResourceMetrics
	gotLogs    []*logspb.ResourceLogs
	metadata   metadata.MD
}

// metricsReceiver and logsReceiver are a receiver's other services.
type metricsReceiver struct {
	colmetrics.UnimplementedMetricsServiceServer
	*receiver
}

type logsReceiver struct {
	collogs.UnimplementedLogsServiceServer
	*receiver
}

// Export implements colmetrics.MetricsServiceServer.
func (r metricsReceiver) Export(_ context.Context, req *colmetrics.ExportMetricsServiceRequest) (*colmetrics.ExportMetricsServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gotMetrics = append(r.gotMetrics, req.GetResourceMetrics()...)
	return &colmetrics.ExportMetricsServiceResponse{}, nil
}

// Export implements collogs.LogsServiceServer.
func (r logsReceiver) Export(_ context.Context, req *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gotLogs = append(r.gotLogs, req.GetResourceLogs()...)
	return &collogs.ExportLogsServiceResponse{}, nil
}

// Export implements coltrace.TraceServiceServer.
func (r *receiver) Export(ctx context.Context, req *coltrace.ExportTraceServiceRequest) (*coltrace.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, req.GetResourceSpans()...)
	r.metadata, _ = metadata.FromIncomingContext(ctx)
	return &coltrace.ExportTraceServiceResponse{}, nil
}

// spans are those received so far, by name.
func (r *receiver) spans() map[string]*tracepb.Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	spans := map[string]*tracepb.Span{}
	for _, rs := range r.got {
		for _, ss := range rs.GetScopeSpans() {
			for _, span := range ss.GetSpans() {
				spans[span.GetName()] = span
			}
		}
	}
	return spans
}

// metrics are those received so far, the newest of each name.
func (r *receiver) metrics() map[string]*metricspb.Metric {
	r.mu.Lock()
	defer r.mu.Unlock()
	metrics := map[string]*metricspb.Metric{}
	for _, rm := range r.gotMetrics {
		for _, sm := range rm.GetScopeMetrics() {
			for _, metric := range sm.GetMetrics() {
				metrics[metric.GetName()] = metric
			}
		}
	}
	return metrics
}

// lines are the log records received so far, by their text.
func (r *receiver) lines() map[string]*logspb.LogRecord {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := map[string]*logspb.LogRecord{}
	for _, rl := range r.gotLogs {
		for _, sl := range rl.GetScopeLogs() {
			for _, record := range sl.GetLogRecords() {
				lines[record.GetBody().GetStringValue()] = record
			}
		}
	}
	return lines
}

// resource is what the spans received so far say of who sent them.
func (r *receiver) resource() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return resourceOf(r.got)
}

func (r *receiver) metricsResource() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return resourceOf(r.gotMetrics)
}

func (r *receiver) logsResource() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return resourceOf(r.gotLogs)
}

func resourceOf[T interface{ GetResource() *resourcepb.Resource }](list []T) map[string]string {
	attrs := map[string]string{}
	for _, item := range list {
		for _, kv := range item.GetResource().GetAttributes() {
			attrs[kv.GetKey()] = kv.GetValue().GetStringValue()
		}
	}
	return attrs
}

// serveGRPC gives the host:port of an OTLP/gRPC endpoint.
func (r *receiver) serveGRPC(t *testing.T, address string) string {
	t.Helper()
	network := "tcp"
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	coltrace.RegisterTraceServiceServer(server, r)
	colmetrics.RegisterMetricsServiceServer(server, metricsReceiver{receiver: r})
	collogs.RegisterLogsServiceServer(server, logsReceiver{receiver: r})
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Stop(); <-served })
	return listener.Addr().String()
}

// serveHTTP gives the URL of an OTLP/HTTP endpoint.
func (r *receiver) serveHTTP(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !r.take(req) {
			http.Error(w, "not OTLP", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// take takes a request by HTTP (OTLP specification, "OTLP/HTTP Request").
func (r *receiver) take(req *http.Request) bool {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return false
	}
	switch req.URL.Path {
	case "/v1/traces":
		message := &coltrace.ExportTraceServiceRequest{}
		err = proto.Unmarshal(body, message)
		_, _ = r.Export(req.Context(), message)
	case "/v1/metrics":
		message := &colmetrics.ExportMetricsServiceRequest{}
		err = proto.Unmarshal(body, message)
		_, _ = metricsReceiver{receiver: r}.Export(req.Context(), message)
	case "/v1/logs":
		message := &collogs.ExportLogsServiceRequest{}
		err = proto.Unmarshal(body, message)
		_, _ = logsReceiver{receiver: r}.Export(req.Context(), message)
	default:
		return false
	}
	return err == nil
}

// blackHole accepts connections and never answers.
func blackHole(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns = append(conns, conn)
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-done
		for _, conn := range conns {
			conn.Close()
		}
	})
	return listener.Addr().String()
}

// refusing is an address that nobody listens on.
func refusing(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

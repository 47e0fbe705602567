package telemetry

import (
	"context"
	"errors"
	"go.opentelemetry.io/otel/trace/noop"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

func newRecorder() (*Tracer, *tracetest.SpanRecorder) {
	recorder := tracetest.NewSpanRecorder()
	return NewTracer(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))), recorder
}

func TestStepsAreChildrenWithTheProviderOfTheSpanAbove(t *testing.T) {
	tracer, recorder := newRecorder()
	ctx, root := tracer.StartRoot(t.Context(), "mount.recovery")
	below, connect := Start(ctx, "nvme.connect", Client, ServerAddress("192.0.2.1"), ServerPort(4420))
	_, predial := Start(below, "nvme.predial", Client)
	predial.End(nil)
	connect.Set(Attempt(2))
	connect.End(fault.E("connect", fault.NVMeDenied, errors.New("refused")))
	Fail(ctx, errors.New("no luck"))
	Annotate(ctx, OperationAttr(OpStage))
	root.End(nil)

	spans := recorder.Ended()
	if len(spans) != 3 {
		t.Fatalf("%d spans, want 3", len(spans))
	}
	dial, conn, top := spans[0], spans[1], spans[2]
	if dial.Parent().SpanID() != conn.SpanContext().SpanID() || conn.Parent().SpanID() != top.SpanContext().SpanID() || top.Parent().IsValid() {
		t.Error("the spans do not form the tree")
	}
	if conn.SpanKind() != trace.SpanKindClient || top.SpanKind() != trace.SpanKindInternal {
		t.Errorf("kinds %v and %v", conn.SpanKind(), top.SpanKind())
	}
	if conn.Status().Code != codes.Error || dial.Status().Code != codes.Unset {
		t.Errorf("statuses %v and %v", conn.Status(), dial.Status())
	}
	wantAttr(t, conn, "error.type", "nvme_denied")
	wantAttr(t, conn, "server.address", "192.0.2.1")
	wantAttr(t, conn, "rds_csi.attempt", "2")
	wantAttr(t, top, "error.type", "_OTHER")
	wantAttr(t, top, "rds_csi.operation", "stage")
}

func wantAttr(t *testing.T, span sdktrace.ReadOnlySpan, key attribute.Key, want string) {
	t.Helper()
	for _, kv := range span.Attributes() {
		if kv.Key == key {
			if got := kv.Value.String(); got != want {
				t.Errorf("%s: %s = %q, want %q", span.Name(), key, got, want)
			}
			return
		}
	}
	t.Errorf("%s has no %s", span.Name(), key)
}

func TestARootIsATraceOfItsOwn(t *testing.T) {
	tracer, recorder := newRecorder()
	ctx, outer := tracer.StartRoot(t.Context(), "reconcile.node")
	_, inner := tracer.StartRoot(ctx, "mount.recovery")
	inner.End(nil)
	outer.End(nil)
	spans := recorder.Ended()
	if spans[0].Parent().IsValid() || spans[0].SpanContext().TraceID() == spans[1].SpanContext().TraceID() {
		t.Error("the recovery is part of the loop's trace")
	}
}

func TestWithoutASpanNothingIsRecorded(t *testing.T) {
	ctx, step := Start(t.Context(), "mount", Internal)
	step.Set(Device("/dev/nvme0n1"))
	step.End(errors.New("no"))
	Link(ctx, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if TraceParent(ctx) != "" || LogFields(ctx) != nil {
		t.Error("a context without a trace has one")
	}
	rootCtx, root := NewTracer(noop.NewTracerProvider()).StartRoot(t.Context(), "x")
	root.End(nil)
	if TraceParent(rootCtx) != "" {
		t.Error("the no-op tracer made a trace")
	}
}

func TestLinkLeadsToTheOtherTrace(t *testing.T) {
	tracer, recorder := newRecorder()
	publish, p := tracer.StartRoot(t.Context(), "publish")
	p.End(nil)
	ctx, stage := tracer.StartRoot(t.Context(), "stage")
	for _, traceparent := range []string{
		TraceParent(publish),
		"", "00", "not a traceparent", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"00-00000000000000000000000000000000-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-xx-01",
	} {
		Link(ctx, traceparent)
	}
	stage.End(nil)
	links := recorder.Ended()[1].Links()
	if len(links) != 1 {
		t.Fatalf("%d links, want 1", len(links))
	}
	if links[0].SpanContext.TraceID() != recorder.Ended()[0].SpanContext().TraceID() {
		t.Error("the link leads elsewhere")
	}
}

func TestErrorTypeIsAlwaysAReason(t *testing.T) {
	tests := []struct {
		err  error
		want string
	}{
		{errors.New("plain"), "_OTHER"},
		{wild{}, "_OTHER"},
		{context.Canceled, "canceled"},
		{context.DeadlineExceeded, "timeout"},
		{fault.E("x", fault.FSNotBlank, errors.New("ext4")), "fs_not_blank"},
		{fault.E("x", fault.Precondition, errors.New("y")), "_OTHER"},
	}
	for _, tt := range tests {
		if got := ErrorType(tt.err); got.Key != "error.type" || got.Value.AsString() != tt.want {
			t.Errorf("ErrorType(%v) = %s=%s, want %s", tt.err, got.Key, got.Value.AsString(), tt.want)
		}
	}
}

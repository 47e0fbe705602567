package export

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/goldentest"
)

var (
	traceA = trace.TraceID{0x0a, 0xf7}
	noon   = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
)

// span is a span of traceA; id 1 is its root. Times are in milliseconds.
func span(name string, id, parent byte, start, end float64, failure string) tracetest.SpanStub {
	at := func(ms float64) time.Time { return noon.Add(time.Duration(ms * float64(time.Millisecond))) }
	stub := tracetest.SpanStub{
		Name:        name,
		SpanContext: trace.NewSpanContext(trace.SpanContextConfig{TraceID: traceA, SpanID: trace.SpanID{id}, TraceFlags: trace.FlagsSampled}),
		Parent:      trace.NewSpanContext(trace.SpanContextConfig{TraceID: traceA, SpanID: trace.SpanID{parent}}),
		StartTime:   at(start), EndTime: at(end),
	}
	if failure != "" {
		stub.Status = sdktrace.Status{Code: codes.Error, Description: failure}
		stub.Attributes = []attribute.KeyValue{attribute.String("error.type", "nvme_denied")}
	}
	return stub
}

func collected(stubs ...tracetest.SpanStub) *Collector {
	c := NewCollector()
	for _, stub := range stubs {
		c.OnEnd(stub.Snapshot())
	}
	return c
}

func waterfall(t *testing.T, c *Collector) string {
	t.Helper()
	got, _ := c.Trace(traceA.String())
	var out bytes.Buffer
	if err := got.Waterfall(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestWaterfall(t *testing.T) {
	// In the order in which they end, as a span processor sees them; the caller's span (9) is not here.
	goldentest.Compare(t, "testdata/waterfall.txt", waterfall(t, collected(
		span("volume.lock", 2, 1, 0.4, 12.5, ""),
		span("nvme.predial", 4, 3, 13, 15.25, ""),
		span("nvme.connect", 3, 1, 13, 94, ""),
		span("nvme.device.wait", 5, 1, 94, 101, ""),
		span("exec mkfs.ext4", 7, 6, 120, 300, ""),
		span("fs.probe", 6, 1, 101, 301, ""),
		span("nvme.disconnect", 9, 8, 330, 399.9, "still\nin use\x1b[31m"),
		span("rollback", 8, 1, 330, 400, ""),
		span("mount", 10, 1, 301, 330, ""),
		span(stageSpan, 1, 99, 0, 412.34, "refused: "+string(bytes.Repeat([]byte("long "), 60))),
	)))
	goldentest.Compare(t, "testdata/waterfall-instant.txt", waterfall(t, collected(span("reconcile.node", 1, 0, 0, 0, ""))))
	goldentest.Compare(t, "testdata/waterfall-none.txt", waterfall(t, NewCollector()))
}

func TestAwaitWaitsForTheRoot(t *testing.T) {
	c := collected(span("nvme.connect", 3, 1, 13, 94, ""))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := c.Await(ctx, stageSpan); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the deadline", err)
	}
	go c.OnEnd(span(stageSpan, 1, 0, 0, 100, "").Snapshot())
	got, err := c.Await(t.Context(), stageSpan)
	if err != nil || got.ID != traceA.String() || len(got.steps) != 2 {
		t.Errorf("trace %+v, error %v", got, err)
	}
}

func TestTheCollectorIsBounded(t *testing.T) {
	c := NewCollector()
	for range maxCollected + 10 {
		c.OnEnd(span("x", 1, 0, 0, 1, "").Snapshot())
	}
	c.OnEnd(span("last", 2, 1, 0, 1, "").Snapshot())
	if len(c.spans) > maxCollected || c.spans[len(c.spans)-1].name != "last" {
		t.Errorf("%d spans kept, the last %q", len(c.spans), c.spans[len(c.spans)-1].name)
	}
}

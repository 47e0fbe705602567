package export

import (
	"context"
	"fmt"
	"sync"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// maxCollected bounds the memory of a Collector; the oldest spans go first.
const maxCollected = 8192

// Collector keeps the latest spans in memory: a span processor for the demo and for tests.
type Collector struct {
	mu    sync.Mutex
	spans []step
	added chan struct{} // closed and replaced at each span
}

// step is what a waterfall shows of a span.
type step struct {
	trace      trace.TraceID
	id, parent trace.SpanID
	name       string
	start, end time.Time
	failure    string // "" unless the span failed
}

// NewCollector gives an empty Collector, for Config.Collect.
func NewCollector() *Collector { return &Collector{added: make(chan struct{})} }

// OnStart implements sdktrace.SpanProcessor.
func (c *Collector) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd implements sdktrace.SpanProcessor.
func (c *Collector) OnEnd(span sdktrace.ReadOnlySpan) {
	s := stepOf(span)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.spans) >= maxCollected {
		c.spans = append(c.spans[:0], c.spans[maxCollected/4:]...)
	}
	c.spans = append(c.spans, s)
	close(c.added)
	c.added = make(chan struct{})
}

// Shutdown implements sdktrace.SpanProcessor.
func (c *Collector) Shutdown(context.Context) error { return nil }

// ForceFlush implements sdktrace.SpanProcessor.
func (c *Collector) ForceFlush(context.Context) error { return nil }

// Trace gives the spans of a trace that have ended so far, by its id in hex.
func (c *Collector) Trace(traceID string) (Trace, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := Trace{ID: traceID}
	for _, s := range c.spans {
		if s.trace.String() == traceID {
			t.steps = append(t.steps, s)
		}
	}
	return t, len(t.steps) > 0
}

// Await gives the newest trace in which a span of that name has ended. For a call's own span
// that is the whole trace. It waits until there is one: the span of a call ends just after
// the caller has its reply.
func (c *Collector) Await(ctx context.Context, span string) (Trace, error) {
	for {
		id, added := c.newest(span)
		if id.IsValid() {
			t, _ := c.Trace(id.String())
			return t, nil
		}
		select {
		case <-added:
		case <-ctx.Done():
			return Trace{}, fmt.Errorf("wait for a trace of %s: %w", span, ctx.Err())
		}
	}
}

func (c *Collector) newest(span string) (trace.TraceID, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.spans) - 1; i >= 0; i-- {
		if c.spans[i].name == span {
			return c.spans[i].trace, c.added
		}
	}
	return trace.TraceID{}, c.added
}

func stepOf(span sdktrace.ReadOnlySpan) step {
	return step{
		trace:   span.SpanContext().TraceID(),
		id:      span.SpanContext().SpanID(),
		parent:  span.Parent().SpanID(),
		name:    span.Name(),
		start:   span.StartTime(),
		end:     span.EndTime(),
		failure: failureOf(span),
	}
}

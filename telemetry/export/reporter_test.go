package export

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func newTestReporter() (*reporter, *observer.ObservedLogs, *int) {
	core, logs := observer.New(zap.DebugLevel)
	r, counted := newReporter(zap.New(core)), new(int)
	r.countWith(func(context.Context) { *counted++ })
	return r, logs, counted
}

func TestOneLineAMinuteForEachClassOfError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, logs, counted := newTestReporter()
		for i := range 150 { // two and a half minutes
			r.Handle(fmt.Errorf("traces export: Post \"http://192.0.2.1:%d\": refused", i))
			if i == 30 {
				r.Handle(errors.New("count NVMe controllers: sysfs is gone"))
			}
			time.Sleep(time.Second)
		}
		r.Handle(nil)
		lines := logs.All()
		if len(lines) != 4 || *counted != 151 {
			t.Fatalf("%d lines, %d counted, want 4 and 151: %v", len(lines), *counted, lines)
		}
		for i, want := range []int64{0, 0, 59, 59} {
			if got := lines[i].ContextMap()["suppressed"]; got != want {
				t.Errorf("line %d: suppressed %v, want %d", i, got, want)
			}
		}
	})
}

func TestErrorsThatAllDifferShareOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, logs, counted := newTestReporter()
		for i := range 1000 {
			r.Handle(fmt.Errorf("%d is wrong %s", i, strings.Repeat("é", 1000)))
		}
		if logs.Len() > maxClasses+1 || *counted != 1000 || len(r.classes) > maxClasses+1 {
			t.Errorf("%d lines, %d counted, %d classes", logs.Len(), *counted, len(r.classes))
		}
		for _, line := range logs.All() {
			if text := line.ContextMap()["error"].(string); len(text) > maxReportLen+len("…") || !strings.HasSuffix(text, "…") {
				t.Errorf("%d bytes logged", len(text))
			}
		}
	})
}

func TestWhatIsNotReported(t *testing.T) {
	r, logs, counted := newTestReporter()
	r.Handle(fmt.Errorf("failed to upload metrics: %w", context.Canceled))
	if logs.Len() != 0 || *counted != 0 {
		t.Errorf("what Shutdown cancels is reported: %v", logs.All())
	}
	r.Handle(errors.New("invalid OTEL_EXPORTER_OTLP_HEADERS value authorization=t0ken value: invalid header: authorization=t0ken"))
	if got := logs.All()[0].ContextMap()["error"]; got != "invalid OTEL_EXPORTER_OTLP_HEADERS: its value is wrong" {
		t.Errorf("reported %q", got)
	}
}

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

// A collector that is away for ten minutes: all three signals, one line a minute.
func TestACollectorThatIsAwayIsOneLineAMinuteForAllSignals(t *testing.T) {
	setEnv(t, asked("OTEL_EXPORTER_OTLP_ENDPOINT=http://"+refusing(t), "OTEL_METRIC_EXPORT_INTERVAL=5000", "OTEL_BLRP_MAX_QUEUE_SIZE=10")...)
	synctest.Test(t, func(t *testing.T) {
		tel, logs := setup(t, Config{})
		const minutes = 10
		began := time.Now()
		for range 60 * minutes {
			live(t, tel)
			for range 20 { // more than the queue holds
				tel.Logger().Info("one of many")
			}
			time.Sleep(time.Second)
		}
		lines := logs.FilterMessage("telemetry error").All()
		if len(lines) < minutes-1 || len(lines) > minutes+1 {
			t.Fatalf("%d lines in %d minutes: %v", len(lines), minutes, lines)
		}
		if late := lines[0].Time.Sub(began); late > 10*time.Second {
			t.Errorf("the first line comes after %s", late)
		}
		for i, line := range lines[1:] {
			if gap := line.Time.Sub(lines[i].Time); gap < reportInterval {
				t.Errorf("two lines within %s", gap)
			}
			if signals := fmt.Sprint(line.ContextMap()["signals"]); signals != "[OTLP logs OTLP metrics traces]" {
				t.Errorf("line %d names the signals %s", i+1, signals)
			}
		}
		for _, line := range lines {
			if text := fmt.Sprint(line.ContextMap()["error"]); !strings.Contains(text, "connection refused") {
				t.Errorf("a line does not say why: %s", text)
			}
		}
		_ = tel.Shutdown(t.Context()) // tells of what is lost
	})
}

// What is told seldom is not lost behind what fails every few seconds.
func TestALineSaysWhyEachSignalFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, logs, _ := newTestReporter()
		for second := range 150 {
			r.Handle(failedExport(tracesSignal, errors.New("connection refused")))
			if second%60 == 30 {
				r.Handle(failedExport(metricsSignal, errors.New("401 Unauthorized")))
			}
			time.Sleep(time.Second)
		}
		lines := logs.All()
		if len(lines) != 3 {
			t.Fatalf("%d lines, want 3: %v", len(lines), lines)
		}
		for i, line := range lines[1:] {
			if text := line.ContextMap()["error"]; text != "401 Unauthorized; connection refused" {
				t.Errorf("line %d says %q", i+2, text)
			}
		}
	})
}

// Lines that are dropped although nothing fails are told of, a minute later.
func TestDroppedLinesAreToldOfWhereNothingElseFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, logs, counted := newTestReporter()
		log := internalLog{r}
		for range 3 {
			log.Info(1, droppedLines)
			time.Sleep(40 * time.Second)
		}
		lines := logs.All()
		if len(lines) != 1 || *counted != 3 || lines[0].ContextMap()["error"] != droppedLines {
			t.Errorf("%d counted, lines %v", *counted, lines)
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
	r.Handle(failedExport(metricsSignal, fmt.Errorf("failed to upload metrics: %w", context.Canceled)))
	if logs.Len() != 0 || *counted != 0 {
		t.Errorf("what Shutdown cancels is reported: %v", logs.All())
	}
	r.Handle(errors.New("invalid OTEL_EXPORTER_OTLP_HEADERS value authorization=t0ken value: invalid header: authorization=t0ken"))
	if got := logs.All()[0].ContextMap()["error"]; got != "invalid OTEL_EXPORTER_OTLP_HEADERS: its value is wrong" {
		t.Errorf("reported %q", got)
	}
}

package telemetry

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
)

func TestJSONLinesCarryTheTrace(t *testing.T) {
	_, log, out := newLeveled(t, "info")
	tracer, recorder := newRecorder()
	ctx, span := tracer.StartRoot(t.Context(), "stage")
	log.Debug("not wanted")
	log.With(LogFields(ctx)...).Info("staged", zap.Duration("took", 1500*time.Millisecond))
	Event(ctx, log, "rds_csi.format.decision", FilesystemType("ext4"), Attempt(2))
	span.End(nil)

	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines, want 2: %s", len(lines), out.String())
	}
	sc := recorder.Ended()[0].SpanContext()
	for i, want := range []map[string]string{
		{"msg": "staged", "level": "info", "took": "1.5s"},
		{"msg": "rds_csi.format.decision", "system.filesystem.type": "ext4", "rds_csi.attempt": "2"},
	} {
		want["trace_id"], want["span_id"], want["trace_flags"] = sc.TraceID().String(), sc.SpanID().String(), "01"
		var line map[string]any
		if err := json.Unmarshal([]byte(lines[i]), &line); err != nil {
			t.Fatalf("line %d is not JSON: %v", i, err)
		}
		for key, value := range want {
			if line[key] != value {
				t.Errorf("line %d: %s = %v, want %s", i, key, line[key], value)
			}
		}
		if _, err := time.Parse(time.RFC3339Nano, line["ts"].(string)); err != nil {
			t.Errorf("line %d: %v", i, err)
		}
	}
	events := recorder.Ended()[0].Events()
	if len(events) != 1 || events[0].Name != "rds_csi.format.decision" || len(events[0].Attributes) != 2 {
		t.Errorf("span events: %+v", events)
	}
}

func TestConsoleLinesAreForPeople(t *testing.T) {
	level, err := NewLogLevel("debug")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	log, err := NewLogger(&out, level, "console")
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("looked", zap.String("at", "sysfs"))
	if got := out.String(); !strings.Contains(got, "\tDEBUG\tlooked\t") || strings.HasPrefix(got, "{") {
		t.Errorf("line %q", got)
	}
}

func TestLoggerRefusesWhatItDoesNotKnow(t *testing.T) {
	for level, want := range map[string]string{
		"loud":  `log level "loud" is unknown: use debug, info, warn or error`,
		"panic": `log level "panic" is unknown: use debug, info, warn or error`,
		"":      `log level "" is unknown: use debug, info, warn or error`,
	} {
		if _, err := NewLogLevel(level); err == nil || err.Error() != want {
			t.Errorf("level %q: error %v, want %s", level, err, want)
		}
	}
	level, err := NewLogLevel("info")
	if err != nil {
		t.Fatal(err)
	}
	const want = `log format "xml" is unknown: use json or console`
	if _, err := NewLogger(&bytes.Buffer{}, level, "xml"); err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

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
	var out bytes.Buffer
	log, err := NewLogger(&out, "info", "json")
	if err != nil {
		t.Fatal(err)
	}
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
	var out bytes.Buffer
	log, err := NewLogger(&out, "debug", "console")
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("looked", zap.String("at", "sysfs"))
	if got := out.String(); !strings.Contains(got, "\tDEBUG\tlooked\t") || strings.HasPrefix(got, "{") {
		t.Errorf("line %q", got)
	}
}

func TestLoggerRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, tt := range []struct{ level, format, want string }{
		{"loud", "json", `log level "loud" is unknown: use debug, info, warn or error`},
		{"panic", "json", `log level "panic" is unknown: use debug, info, warn or error`},
		{"", "json", `log level "" is unknown: use debug, info, warn or error`},
		{"info", "xml", `log format "xml" is unknown: use json or console`},
	} {
		if _, err := NewLogger(&bytes.Buffer{}, tt.level, tt.format); err == nil || err.Error() != tt.want {
			t.Errorf("%s/%s: error %v, want %s", tt.level, tt.format, err, tt.want)
		}
	}
}

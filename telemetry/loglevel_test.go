package telemetry

import (
	"bytes"
	"strings"
	"testing"

	"go.uber.org/zap"
)

func newLeveled(t *testing.T, configured string) (*LogLevel, *zap.Logger, *bytes.Buffer) {
	t.Helper()
	level, err := NewLogLevel(configured)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	log, err := NewLogger(&out, level, "json")
	if err != nil {
		t.Fatal(err)
	}
	return level, log, &out
}

// said takes what out has, one message a line.
func said(out *bytes.Buffer) string {
	defer out.Reset()
	var messages []string
	for line := range strings.Lines(out.String()) {
		_, rest, _ := strings.Cut(line, `"msg":"`)
		message, _, _ := strings.Cut(rest, `"`)
		messages = append(messages, message)
	}
	return strings.Join(messages, ", ")
}

func TestToggleStepsBetweenDebugAndWhatIsConfigured(t *testing.T) {
	for _, configured := range []string{"info", "warn", "error", "debug"} {
		level, log, out := newLeveled(t, configured)
		for _, want := range []string{"debug", configured, "debug", configured} {
			if configured == "debug" {
				want = "debug"
			}
			level.Toggle(log, "SIGUSR1")
			if line := out.String(); !strings.Contains(line, `"by":"SIGUSR1"`) {
				t.Errorf("%s: line %q does not say by what", configured, line)
			}
			if got := said(out); got != "the log level is now "+want {
				t.Errorf("%s: said %q, want level %s", configured, got, want)
			}
			log.Debug("a detail")
			if got := said(out); (got == "a detail") != (want == "debug") {
				t.Errorf("level %s: said %q", want, got)
			}
		}
	}
}

func TestToggleEndsWhatWasSetByHand(t *testing.T) {
	level, log, out := newLeveled(t, "info")
	for range 2 {
		if err := level.Set(log, "PUT", "error"); err != nil {
			t.Fatal(err)
		}
	}
	log.Warn("not wanted")
	level.Toggle(log, "SIGUSR1")
	level.Toggle(log, "SIGUSR1")
	log.Info("wanted")
	const want = "the log level is now error, the log level is now debug, the log level is now info, wanted"
	if got := said(out); got != want {
		t.Errorf("said %q, want %q", got, want)
	}
}

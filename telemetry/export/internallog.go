package export

import (
	"errors"
	"fmt"

	"github.com/go-logr/logr"
)

// internalLog takes what the SDK logs about itself. It keeps the message only: errors and
// values quote the setting they complain of, OTEL_EXPORTER_OTLP_HEADERS with its tokens
// among them.
type internalLog struct {
	reporter *reporter
}

// Init implements logr.LogSink.
func (internalLog) Init(logr.RuntimeInfo) {}

// Enabled implements logr.LogSink: level 1 is the SDK's warnings, above it is chatter.
func (internalLog) Enabled(level int) bool { return level <= 1 }

// droppedLines is what the log processor says at each batch while its queue is full (sdk/log v1.47.0,
// batch.go), which it is when exports fail.
const droppedLines = "dropped log records"

// Info implements logr.LogSink.
func (l internalLog) Info(_ int, message string, _ ...any) {
	err := errors.New(message)
	if message == droppedLines {
		err = exportError{signal: logsSignal, cause: err, follows: true}
	}
	l.reporter.Handle(err)
}

// Error implements logr.LogSink.
func (l internalLog) Error(_ error, message string, _ ...any) {
	l.reporter.Handle(fmt.Errorf("OpenTelemetry setting or use is wrong (%s)", message))
}

// WithValues implements logr.LogSink.
func (l internalLog) WithValues(...any) logr.LogSink { return l }

// WithName implements logr.LogSink.
func (l internalLog) WithName(string) logr.LogSink { return l }

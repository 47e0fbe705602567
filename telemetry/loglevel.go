package telemetry

import (
	"fmt"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// LogLevel is the level of a log. It can be changed while the process runs, as what needs a
// closer look is often gone after a restart.
type LogLevel struct {
	now        zap.AtomicLevel
	configured zapcore.Level
}

// NewLogLevel is level until it is changed: "debug", "info", "warn" or "error".
func NewLogLevel(level string) (*LogLevel, error) {
	switch level {
	case "debug", "info", "warn", "error":
		at, err := zapcore.ParseLevel(level)
		return &LogLevel{now: zap.NewAtomicLevelAt(at), configured: at}, err
	default:
		return nil, fmt.Errorf("log level %q is unknown: use debug, info, warn or error", level)
	}
}

// Toggle steps to debug, or from there back to what was configured. by says in log who asked.
func (l *LogLevel) Toggle(log *zap.Logger, by string) {
	next := zap.DebugLevel
	if l.now.Level() == zap.DebugLevel {
		next = l.configured
	}
	l.now.SetLevel(next)
	l.announce(log, by) // also where both are debug: who has sent the signal wants to see that it came
}

// Level is the one that holds now.
func (l *LogLevel) Level() zapcore.Level { return l.now.Level() }

// Set sets the level, one of those of NewLogLevel, and says in log that it did and by what.
func (l *LogLevel) Set(log *zap.Logger, by, level string) error {
	next, err := NewLogLevel(level)
	if err != nil {
		return err
	}
	if before := l.now.Level(); before != next.configured {
		l.now.SetLevel(next.configured)
		l.announce(log, by)
	}
	return nil
}

// announce writes to the core, which does not ask for the level: else a change from info to
// error, of all things, would leave no line.
func (l *LogLevel) announce(log *zap.Logger, by string) {
	entry := zapcore.Entry{Level: zap.InfoLevel, Time: time.Now(), LoggerName: log.Name(), Message: "the log level is now " + l.now.String()}
	_ = log.Core().Write(entry, []zap.Field{zap.String("by", by)}) // nobody could be told that the log fails
}

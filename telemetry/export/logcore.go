package export

import (
	"context"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// otlpCore is the bridge to OTLP at the level of the log beside it. A line's trace goes to where
// records have a place for it, rather than into three attributes.
type otlpCore struct {
	zapcore.Core
	level zapcore.LevelEnabler
}

// Enabled implements zapcore.Core.
func (c otlpCore) Enabled(level zapcore.Level) bool { return c.level.Enabled(level) }

// With implements zapcore.Core.
func (c otlpCore) With(fields []zap.Field) zapcore.Core {
	return otlpCore{Core: c.Core.With(withTrace(fields)), level: c.level}
}

// Check implements zapcore.Core.
func (c otlpCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !c.Enabled(entry.Level) {
		return checked
	}
	return checked.AddCore(entry, c)
}

// Write implements zapcore.Core.
func (c otlpCore) Write(entry zapcore.Entry, fields []zap.Field) error {
	return c.Core.Write(entry, withTrace(fields))
}

// withTrace puts the trace of fields into a context, which is how otelzap takes it.
func withTrace(fields []zap.Field) []zap.Field {
	sc, rest := telemetry.SplitLogFields(fields)
	if !sc.IsValid() {
		return fields
	}
	return append(rest, zap.Any("context", trace.ContextWithSpanContext(context.Background(), sc)))
}

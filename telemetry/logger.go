package telemetry

import (
	"fmt"
	"io"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// NewLogger writes lines of at least level ("debug", "info", "warn", "error") to w, as JSON
// objects ("json") or for people ("console"). Nothing is sampled away and nothing is cut.
func NewLogger(w io.Writer, level, format string) (*zap.Logger, error) {
	at, err := logLevel(level)
	if err != nil {
		return nil, err
	}
	encoder, err := logEncoder(format)
	if err != nil {
		return nil, err
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), at)), nil
}

func logLevel(level string) (zapcore.Level, error) {
	switch level {
	case "debug", "info", "warn", "error":
		return zapcore.ParseLevel(level)
	default:
		return 0, fmt.Errorf("log level %q is unknown: use debug, info, warn or error", level)
	}
}

func logEncoder(format string) (zapcore.Encoder, error) {
	config := zap.NewProductionEncoderConfig()
	config.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	config.EncodeDuration = zapcore.StringDurationEncoder // "1.5s": what log queries can compare
	switch format {
	case "json":
		return zapcore.NewJSONEncoder(config), nil
	case "console":
		config.EncodeLevel = zapcore.CapitalLevelEncoder
		return zapcore.NewConsoleEncoder(config), nil
	default:
		return nil, fmt.Errorf("log format %q is unknown: use json or console", format)
	}
}

package telemetry

import (
	"fmt"
	"io"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// NewLogger writes lines of at least level to w, as JSON objects ("json") or for people
// ("console"). Nothing is sampled away and nothing is cut.
func NewLogger(w io.Writer, level *LogLevel, format string) (*zap.Logger, error) {
	encoder, err := logEncoder(format)
	if err != nil {
		return nil, err
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), level.now)), nil
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

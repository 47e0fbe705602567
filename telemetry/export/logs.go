package export

import (
	"context"
	"net/url"
	"strings"

	"go.opentelemetry.io/contrib/bridges/otelzap"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// logs is the log that the driver writes to, and what sends its lines on.
type logs struct {
	log   *zap.Logger
	flush func(context.Context) error
	abort func() // ends exports that still run
}

// newLogs adds OTLP to env's log where the environment asks for it. Telemetry's own lines stay
// in the log it was given: one about a failed export must not make the next export.
func newLogs(ctx context.Context, env *environment, res *resource.Resource) *logs {
	exporter, ok := newExporter(ctx, env, logsSignal, env.logMakers())
	if !ok {
		return &logs{log: env.log, flush: func(context.Context) error { return nil }, abort: func() {}}
	}
	line := newLifeline()
	provider := sdklog.NewLoggerProvider(
		sdklog.WithResource(res),
		sdklog.WithProcessor(sdklog.NewBatchProcessor(logExporter{exporter, line})),
	)
	bridge := otelzap.NewCore(telemetry.Scope, otelzap.WithLoggerProvider(provider))
	both := zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewTee(core, otlpCore{Core: bridge, level: core})
	})
	return &logs{log: env.log.WithOptions(both), flush: provider.Shutdown, abort: line.abort}
}

func (e *environment) logMakers() makers[sdklog.Exporter] {
	return makers[sdklog.Exporter]{
		grpc: func(ctx context.Context) (sdklog.Exporter, error) { return otlploggrpc.New(ctx, e.logTarget()...) },
		http: func(ctx context.Context) (sdklog.Exporter, error) { return otlploghttp.New(ctx) },
	}
}

// logTarget hands over an endpoint that is a gRPC target, such as unix:///path: of those the log
// exporter, unlike the other two, keeps the host part only (otlploggrpc v0.23.0, convEndpoint).
func (e *environment) logTarget() []otlploggrpc.Option {
	endpoint := e.endpoint(logsSignal)
	u, err := url.Parse(endpoint)
	if endpoint == "" || err != nil || isWeb(u) {
		return nil
	}
	options := []otlploggrpc.Option{otlploggrpc.WithEndpoint(endpoint)}
	if strings.HasPrefix(u.Scheme, "unix") { // also unix-abstract: no TLS, as the other two have it
		options = append(options, otlploggrpc.WithInsecure())
	}
	return options
}

// shutdown sends what is left, until ctx ends.
func (l *logs) shutdown(ctx context.Context) error {
	defer l.abort()
	return l.flush(ctx)
}

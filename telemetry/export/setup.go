package export

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// Config is what Setup needs.
type Config struct {
	Service           string // service.name: rds-csi-controller, rds-csi-node or rds-csi; the environment wins
	Component         string // controller, node or both
	Version, Revision string
	MetricsAddress    string // host:port of /metrics, /livez and /readyz; "" turns them and the metrics off
	TLSCert, TLSKey   string // PEM files, to serve them by HTTPS; "" is plain HTTP
	NativeHistograms  bool   // give histograms native buckets beside the classic ones, for scrapes by protobuf
	Pprof             bool   // serve /debug/pprof beside them
	Log               *zap.Logger
	LogLevel          *telemetry.LogLevel // that of Log, to be changed at /loglevel; nil: it cannot be
	// Getenv says which OTEL_* settings hold; nil is os.Getenv. The SDK's own settings (headers,
	// certificates, time-outs, queue sizes, resource attributes) come from the process's environment.
	Getenv  func(string) string
	Ready   func() (ok bool, why string) // for /readyz; nil is always ready
	Collect *Collector                   // nil, or where every sampled span goes as well
}

// Telemetry holds the providers and the HTTP endpoint.
type Telemetry struct {
	metrics    *telemetry.Metrics
	meters     *meters
	traces     *traces
	logs       *logs
	propagator propagation.TextMapPropagator
	server     *server
}

// Setup makes the providers. It takes no time to speak of, connects to nothing and never fails for
// a wrong OTEL_* value: that is logged and the process runs without traces. An error means
// that cfg itself is wrong.
//
// It installs the process-wide OpenTelemetry error handler and internal logger: both are
// global only, and what the SDK does by default would flood stderr and print OTLP headers.
func Setup(ctx context.Context, cfg Config) (*Telemetry, error) {
	component := telemetry.Component(cfg.Component)
	if !slices.Contains(telemetry.Components(), component) {
		return nil, fmt.Errorf("set up telemetry: component %q is none of %v", cfg.Component, telemetry.Components())
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Getenv == nil {
		cfg.Getenv = os.Getenv
	}
	reporter := newReporter(cfg.Log)
	otel.SetErrorHandler(reporter)
	otel.SetLogger(logr.New(internalLog{reporter}))
	res := newResource(ctx, cfg)
	env := &environment{getenv: cfg.Getenv, log: cfg.Log}
	meters, err := newMeters(ctx, cfg, env, res)
	if err != nil {
		return nil, err
	}
	metrics, err := telemetry.NewMetricsFor(meters.provider, component)
	if err != nil {
		return nil, fmt.Errorf("set up telemetry: make the instruments: %w", err)
	}
	metrics.RecordBuild(ctx, component, cfg.Version, cfg.Revision, runtime.Version())
	reporter.countWith(metrics.RecordTelemetryError)
	t := &Telemetry{
		metrics:    metrics,
		meters:     meters,
		traces:     newTraces(ctx, env, res, cfg.Collect),
		logs:       newLogs(ctx, env, res),
		propagator: env.propagator(),
	}
	if meters.gatherer != nil {
		if t.server, err = newServer(cfg, newHandler(cfg, t.Logger(), meters.gatherer, reporter)); err != nil {
			return nil, errors.Join(err, t.Shutdown(ctx))
		}
	}
	return t, nil
}

// Metrics are the driver's instruments; never nil.
func (t *Telemetry) Metrics() *telemetry.Metrics { return t.metrics }

// Logger is Config.Log, whose lines also go to OTLP where the environment asks for that.
func (t *Telemetry) Logger() *zap.Logger { return t.logs.log }

// Tracer begins root spans, for the loops.
func (t *Telemetry) Tracer() *telemetry.Tracer { return telemetry.NewTracer(t.traces.provider) }

// ServerOption makes a gRPC server trace and meter its calls with these providers.
func (t *Telemetry) ServerOption() grpc.ServerOption {
	return telemetry.ServerOption(t.traces.provider, t.meters.provider, t.propagator)
}

// Start serves HTTP in the background until Shutdown. Where the address cannot be bound it
// tries again, ever less often, until ctx ends.
func (t *Telemetry) Start(ctx context.Context) {
	if t.server != nil {
		t.server.start(ctx)
	}
}

// MetricsURL is where /metrics is served, or "" as long as nothing is bound.
func (t *Telemetry) MetricsURL() string {
	if t.server == nil {
		return ""
	}
	return t.server.metricsURL()
}

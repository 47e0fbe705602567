package export

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"go.uber.org/zap"
)

// The OTLP protocols (OpenTelemetry protocol exporter specification). http/json is not
// implemented by the Go SDK.
const (
	protocolGRPC = "grpc"
	protocolHTTP = "http/protobuf"
)

// signal is one of the three that OTLP carries, as it stands in the variables' names.
type signal string

const (
	tracesSignal  signal = "TRACES"
	metricsSignal signal = "METRICS"
	logsSignal    signal = "LOGS"
)

// String is for log lines: metrics and logs go elsewhere as well, traces do not.
func (s signal) String() string {
	if s == tracesSignal {
		return "traces"
	}
	return "OTLP " + strings.ToLower(string(s))
}

func (s signal) exporterKey() string { return "OTEL_" + string(s) + "_EXPORTER" }

// makers make a signal's exporters.
type makers[T any] struct {
	grpc, http func(context.Context) (T, error)
	other      func(context.Context) (T, error) // for names beside otlp; nil: there are none
}

// newExporter makes the exporter that the environment asks for. It is not ok where none is
// asked for, or wrongly: that is logged.
func newExporter[T any](ctx context.Context, env *environment, s signal, m makers[T]) (exporter T, ok bool) {
	name := env.exporterName(s)
	if name == "" {
		return exporter, false
	}
	exporter, err := makeExporter(ctx, env, s, name, m)
	if err != nil {
		env.log.Warn(s.String()+" are off", zap.Error(err))
		return exporter, false
	}
	env.log.Info(s.String() + " are exported")
	return exporter, true
}

// makeExporter makes OTLP's itself: autoexport takes no endpoint without an exporter's name and
// would post HTTP to the gRPC port.
func makeExporter[T any](ctx context.Context, env *environment, s signal, name string, m makers[T]) (exporter T, err error) {
	switch {
	case name != "otlp" && m.other == nil:
		return exporter, fmt.Errorf("%s=%s: use otlp or none", s.exporterKey(), name)
	case name != "otlp":
		if exporter, err = m.other(ctx); err != nil {
			err = fmt.Errorf("%s=%s: %w", s.exporterKey(), name, err)
		}
		return exporter, err
	}
	protocol := env.protocol(s)
	if err := checkEndpoint(protocol, env.endpoint(s)); err != nil {
		return exporter, err
	}
	switch protocol {
	case protocolGRPC:
		return m.grpc(ctx)
	case protocolHTTP:
		return m.http(ctx)
	default:
		return exporter, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL=%s: use grpc or http/protobuf", protocol)
	}
}

// exporterName is what the environment asks for, "" for nothing. An endpoint asks for traces
// only: it may be set for all of a pod, and metrics and logs have their place already.
func (e *environment) exporterName(s signal) string {
	name := e.get(s.exporterKey())
	switch {
	case e.disabled(), name == "none":
		return ""
	case name == "" && s == tracesSignal && e.endpoint(s) != "":
		return "otlp"
	default:
		return name
	}
}

func (e *environment) endpoint(s signal) string {
	return e.get("OTEL_EXPORTER_OTLP_"+string(s)+"_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
}

// protocol is the one asked for. Without one it is HTTP, except that the well-known gRPC
// port of an endpoint means gRPC: HTTP could only fail there.
func (e *environment) protocol(s signal) string {
	if asked := e.get("OTEL_EXPORTER_OTLP_"+string(s)+"_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"); asked != "" {
		return asked
	}
	u, err := url.Parse(e.endpoint(s))
	if err == nil && u.Port() == "4317" && strings.Trim(u.Path, "/") == "" {
		e.grpcPort.Do(func() {
			e.log.Warn("the OTLP endpoint has the gRPC port 4317 and no protocol is set: using gRPC; set OTEL_EXPORTER_OTLP_PROTOCOL=grpc to say so")
		})
		return protocolGRPC
	}
	return protocolHTTP
}

// checkEndpoint refuses what the exporters would only log before they go on to send to
// localhost. The endpoint may hold a password, so it is in no error.
func checkEndpoint(protocol, endpoint string) error {
	if endpoint == "" {
		return nil
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return errors.New("the OTLP endpoint is not a URL: use http://host:4318, or http://host:4317 for gRPC")
	}
	web := isWeb(u)
	if web && u.Host == "" {
		return errors.New("the OTLP endpoint has no host: use http://host:4318, or http://host:4317 for gRPC")
	}
	if !web && protocol == protocolHTTP {
		return errors.New("the OTLP endpoint does not start with http:// or https://")
	}
	if !web && strings.Contains(endpoint, "@") { // gRPC would quote it, with the password, in each error
		return errors.New("the OTLP endpoint has a user in it and does not start with http:// or https://: see its scheme")
	}
	return nil // gRPC takes its own targets too, such as unix:///path
}

func isWeb(u *url.URL) bool { return u.Scheme == "http" || u.Scheme == "https" }

package export

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/contrib/propagators/autoprop"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.uber.org/zap"
)

// The OTLP protocols (OpenTelemetry protocol exporter specification). http/json is not
// implemented by the Go SDK.
const (
	protocolGRPC = "grpc"
	protocolHTTP = "http/protobuf"
)

// environment reads OTEL_* variables. Empty is the same as unset (OpenTelemetry
// environment variable specification).
type environment func(string) string

func (e environment) get(keys ...string) string {
	for _, key := range keys {
		if value := strings.TrimSpace(e(key)); value != "" {
			return value
		}
	}
	return ""
}

// tracesAsked tells whether the environment asks for traces: an exporter or an endpoint.
// The SDK itself does not read OTEL_SDK_DISABLED. It turns traces off here, but not the
// metrics: those are asked for by a flag.
func (e environment) tracesAsked() bool {
	if strings.EqualFold(e.get("OTEL_SDK_DISABLED"), "true") {
		return false
	}
	exporter := e.get("OTEL_TRACES_EXPORTER")
	return exporter != "none" && (exporter != "" || e.endpoint() != "")
}

func (e environment) endpoint() string {
	return e.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
}

// exporter makes the exporter asked for. autoexport takes no endpoint without an exporter's
// name and would post HTTP to the gRPC port, so OTLP is made here.
func (e environment) exporter(ctx context.Context, log *zap.Logger) (sdktrace.SpanExporter, error) {
	if name := e.get("OTEL_TRACES_EXPORTER"); name != "" && name != "otlp" {
		exporter, err := autoexport.NewSpanExporter(ctx)
		if err != nil {
			return nil, fmt.Errorf("OTEL_TRACES_EXPORTER=%s: %w", name, err)
		}
		return exporter, nil
	}
	protocol := e.protocol(log)
	if err := checkEndpoint(protocol, e.endpoint()); err != nil {
		return nil, err
	}
	switch protocol {
	case protocolGRPC:
		return otlptracegrpc.New(ctx)
	case protocolHTTP:
		return otlptracehttp.New(ctx)
	default:
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL=%s: use grpc or http/protobuf", protocol)
	}
}

// protocol is the one asked for. Without one it is HTTP, except that the well-known gRPC
// port of an endpoint means gRPC: HTTP could only fail there.
func (e environment) protocol(log *zap.Logger) string {
	if asked := e.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"); asked != "" {
		return asked
	}
	u, err := url.Parse(e.endpoint())
	if err == nil && u.Port() == "4317" && strings.Trim(u.Path, "/") == "" {
		log.Warn("the OTLP endpoint has the gRPC port 4317 and no protocol is set: using gRPC; set OTEL_EXPORTER_OTLP_PROTOCOL=grpc to say so")
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
	web := u.Scheme == "http" || u.Scheme == "https"
	if web && u.Host == "" {
		return errors.New("the OTLP endpoint has no host: use http://host:4318, or http://host:4317 for gRPC")
	}
	if !web && protocol == protocolHTTP {
		return errors.New("the OTLP endpoint does not start with http:// or https://")
	}
	return nil // gRPC takes its own targets too, such as unix:///path
}

// propagator is that of OTEL_PROPAGATORS, by default W3C trace context and baggage. The SDK
// itself extracts nothing.
func (e environment) propagator(log *zap.Logger) propagation.TextMapPropagator {
	standard := propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	names := e.get("OTEL_PROPAGATORS")
	if names == "" {
		return standard
	}
	var list []string
	for name := range strings.SplitSeq(names, ",") {
		list = append(list, strings.TrimSpace(name))
	}
	p, err := autoprop.TextMapPropagator(list...)
	if err != nil {
		log.Warn("OTEL_PROPAGATORS is wrong: using tracecontext and baggage", zap.Error(err))
		return standard
	}
	return p
}

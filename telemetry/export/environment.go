package export

import (
	"strings"
	"sync"

	"go.opentelemetry.io/contrib/propagators/autoprop"
	"go.opentelemetry.io/otel/propagation"
	"go.uber.org/zap"
)

// environment reads OTEL_* variables, and logs what is wrong with them.
type environment struct {
	getenv   func(string) string
	log      *zap.Logger
	grpcPort sync.Once // said once for all signals
}

// get is the first that is set. Empty is the same as unset (OpenTelemetry environment
// variable specification).
func (e *environment) get(keys ...string) string {
	for _, key := range keys {
		if value := strings.TrimSpace(e.getenv(key)); value != "" {
			return value
		}
	}
	return ""
}

// disabled tells whether OTEL_SDK_DISABLED turns OTLP off; the SDK itself does not read it.
// /metrics stays: it is asked for by a flag.
func (e *environment) disabled() bool { return strings.EqualFold(e.get("OTEL_SDK_DISABLED"), "true") }

// propagator is that of OTEL_PROPAGATORS, by default W3C trace context and baggage. The SDK
// itself extracts nothing.
func (e *environment) propagator() propagation.TextMapPropagator {
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
		e.log.Warn("OTEL_PROPAGATORS is wrong: using tracecontext and baggage", zap.Error(err))
		return standard
	}
	return p
}

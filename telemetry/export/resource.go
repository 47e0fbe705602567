package export

import (
	"context"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.uber.org/zap"
)

// newResource says who we are. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES (pod, node and
// namespace by the downward API) come last, so they win.
func newResource(ctx context.Context, cfg Config) *resource.Resource {
	res, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithAttributes(
			semconv.ServiceName(cfg.Service),
			semconv.ServiceVersion(cfg.Version),
			semconv.ServiceInstanceID(uuid.NewString()),
		),
		resource.WithFromEnv(),
	)
	if err != nil { // what could be read is in res all the same
		cfg.Log.Warn("some resource attributes are left out: check OTEL_RESOURCE_ATTRIBUTES", zap.Error(err))
	}
	return res
}

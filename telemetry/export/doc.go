// Package export is where telemetry leaves the process: the OpenTelemetry SDK's providers,
// the Prometheus endpoint, OTLP traces, metrics and logs as the standard OTEL_* environment asks
// for them, and an in-memory collector with a waterfall for the demo. Only cmd imports it.
//
// Nothing here may fail or delay a CSI call: a wrong setting is logged and left out, an
// unreachable collector costs what was meant for it and, for each signal, one log line a minute,
// and Shutdown is bounded.
package export

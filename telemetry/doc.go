// Package telemetry is what the driver's packages see of OpenTelemetry: the instruments
// (Metrics), spans (Start), typed attributes, and the log fields that tie a line to its
// trace. It uses the OpenTelemetry API only; providers are made in telemetry/export.
package telemetry

package telemetry

import (
	"go.opentelemetry.io/otel/attribute"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// outcome is how something of kind S ended. The reason is "" unless the status is StatusFailure.
type outcome[S comparable] struct {
	of     S
	status Status
	reason fault.Reason
}

// outcomeOf is the outcome of what cannot be a noop.
func outcomeOf[S comparable](of S, err error, possible []fault.Reason) outcome[S] {
	if err == nil {
		return outcome[S]{of: of, status: StatusSuccess}
	}
	return outcome[S]{of, StatusFailure, failure(err, possible)}
}

// result is how something of kind S ended, without the reason.
type result[S comparable] struct {
	of     S
	status Status
}

// nothing is the S of what has no kinds.
type nothing struct{}

// outcomes lists all outcomes of kinds: each status, and for failures each possible reason.
func outcomes[S comparable](kinds []S, statuses []Status, possible func(S) []fault.Reason) []outcome[S] {
	var all []outcome[S]
	for _, kind := range kinds {
		for _, status := range statuses {
			if status != StatusFailure {
				all = append(all, outcome[S]{of: kind, status: status})
				continue
			}
			for _, reason := range possible(kind) {
				all = append(all, outcome[S]{kind, status, reason})
			}
		}
	}
	return all
}

// results lists all results of kinds.
func results[S comparable](kinds []S, statuses []Status) []result[S] {
	var all []result[S]
	for _, kind := range kinds {
		for _, status := range statuses {
			all = append(all, result[S]{kind, status})
		}
	}
	return all
}

// withoutNoop lists the statuses of what cannot be a noop.
func withoutNoop() []Status { return []Status{StatusSuccess, StatusFailure} }

func outcomeAttrs[S ~string](key string) func(outcome[S]) []attribute.KeyValue {
	return func(o outcome[S]) []attribute.KeyValue {
		return append(reasonAttrs(o.status, o.reason), attribute.String(key, string(o.of)))
	}
}

func bareOutcomeAttrs(o outcome[nothing]) []attribute.KeyValue {
	return reasonAttrs(o.status, o.reason)
}

func reasonAttrs(status Status, reason fault.Reason) []attribute.KeyValue {
	attrs := []attribute.KeyValue{attribute.String("status", string(status))}
	if reason != "" {
		attrs = append(attrs, attribute.String("error.type", string(reason)))
	}
	return attrs
}

func resultAttrs[S ~string](key string) func(result[S]) []attribute.KeyValue {
	return func(r result[S]) []attribute.KeyValue {
		return []attribute.KeyValue{attribute.String(key, string(r.of)), attribute.String("status", string(r.status))}
	}
}

func bareResultAttrs(r result[nothing]) []attribute.KeyValue {
	return []attribute.KeyValue{attribute.String("status", string(r.status))}
}

// kindAttrs is the one attribute of what has kinds only.
func kindAttrs[S ~string](key string) func(S) []attribute.KeyValue {
	return func(kind S) []attribute.KeyValue {
		return []attribute.KeyValue{attribute.String(key, string(kind))}
	}
}

package telemetry

import (
	"context"
	"errors"
	"slices"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// reasonOf is the error.type of err: what its ErrorType method says if that is one of the
// closed set, what the end of a context means, else _OTHER. It is "" for nil.
func reasonOf(err error) fault.Reason {
	if err == nil {
		return ""
	}
	if typed, ok := errors.AsType[interface {
		error
		ErrorType() string
	}](err); ok {
		return listedReason(fault.Reason(typed.ErrorType()))
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fault.ReasonTimeout
	case errors.Is(err, context.Canceled):
		return fault.ReasonCanceled
	default:
		return fault.ReasonOther
	}
}

func listedReason(reason fault.Reason) fault.Reason {
	if slices.Contains(fault.Reasons(), reason) {
		return reason
	}
	return fault.ReasonOther
}

// failure narrows the reason of err to the possible ones. What is not expected of this
// kind of step counts as _OTHER: its own error.type is on the span and in the log.
func failure(err error, possible []fault.Reason) fault.Reason {
	if reason := reasonOf(err); slices.Contains(possible, reason) {
		return reason
	}
	return fault.ReasonOther
}

// Package fault is the one error vocabulary of the driver.
//
// An error has a kind, which decides the gRPC code (pkg/driver/status.go), and a
// reason, which is the error.type of metrics, spans and logs. Each reason belongs
// to one kind. Both sets are closed (docs/reference/errors.md).
package fault

import (
	"context"
	"errors"
	"fmt"
)

// Class is what an error is made with: a Kind, or a Reason that implies its kind.
type Class interface {
	Kind() Kind
	Reason() Reason
}

// Error is an error of a known class. Its text is "<what was tried>: <what came back>".
type Error struct {
	op     string
	kind   Kind
	reason Reason
	err    error
}

// E says that op failed with err, and of which class that is. A nil err gives nil.
// The outermost class of a chain wins: a caller who knows better may reclassify.
func E(op string, class Class, err error) error {
	if err == nil {
		return nil
	}
	return &Error{op: op, kind: class.Kind(), reason: class.Reason(), err: err}
}

// Errorf is E with a formatted text; %w works as in fmt.Errorf.
func Errorf(op string, class Class, format string, args ...any) error {
	return E(op, class, fmt.Errorf(format, args...))
}

// Wrap adds what was tried and keeps the class of err. A nil err gives nil.
func Wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{op: op, kind: KindOf(err), reason: ReasonOf(err), err: err}
}

// Reclassify changes the kind of err and keeps its reason: for callers to whom the gRPC code must
// say something else than the cause does.
func Reclassify(err error, kind Kind) error {
	if err == nil {
		return nil
	}
	return &Error{kind: kind, reason: ReasonOf(err), err: err}
}

func (e *Error) Error() string {
	if e.op == "" {
		return e.err.Error()
	}
	return e.op + ": " + e.err.Error()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.err }

// ErrorType is the value of the error.type attribute (semconv.ErrorType looks for this method).
func (e *Error) ErrorType() string { return string(e.reason) }

// KindOf tells the kind of err: that of the outermost Error, else what a context's
// end means, else Internal. KindOf(nil) is "".
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.kind
	}
	return contextClass(err).Kind()
}

// ReasonOf tells the reason of err by the same rule. ReasonOf(nil) is "".
func ReasonOf(err error) Reason {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.reason
	}
	return contextClass(err).Reason()
}

func contextClass(err error) Class {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	case errors.Is(err, context.Canceled):
		return Canceled
	default:
		return Internal
	}
}

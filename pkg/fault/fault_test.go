package fault_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault/faulttest"
)

func TestKindAndReasonOf(t *testing.T) {
	cause := errors.New("boom")
	tests := []struct {
		name   string
		err    error
		kind   fault.Kind
		reason fault.Reason
	}{
		{"nil", nil, "", ""},
		{"plain", cause, fault.Internal, fault.ReasonOther},
		{"deadline", fmt.Errorf("wait: %w", context.DeadlineExceeded), fault.Timeout, fault.ReasonTimeout},
		{"canceled", context.Canceled, fault.Canceled, fault.ReasonCanceled},
		{"by kind", fault.E("get", fault.NotFound, cause), fault.NotFound, fault.ReasonNotFound},
		{"by reason", fault.E("dial", fault.SSHAuth, cause), fault.Unavailable, fault.SSHAuth},
		{"outermost wins", fault.E("create", fault.NoSpace, fault.E("exec", fault.RouterOSRejected, cause)), fault.NoSpace, fault.ReasonNoSpace},
		{"wrap keeps", fault.Wrap("stage", fault.E("probe", fault.FSNotBlank, cause)), fault.Precondition, fault.FSNotBlank},
		{"found under fmt", fmt.Errorf("x: %w", fault.E("y", fault.Busy, cause)), fault.Busy, fault.ReasonBusy},
		{"class beats context", fault.E("exec", fault.UnknownOutcome, context.Canceled), fault.UnknownOutcome, fault.RouterOSLostReply},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := fault.KindOf(tt.err); got != tt.kind {
				t.Errorf("KindOf = %q, want %q", got, tt.kind)
			}
			if got := fault.ReasonOf(tt.err); got != tt.reason {
				t.Errorf("ReasonOf = %q, want %q", got, tt.reason)
			}
		})
	}
}

func TestErrorTextAndChain(t *testing.T) {
	cause := errors.New("no answer")
	err := fault.Wrap("create volume csi-1", fault.E("dial 192.0.2.1:22", fault.SSHUnreachable, cause))
	if got, want := err.Error(), "create volume csi-1: dial 192.0.2.1:22: no answer"; got != want {
		t.Errorf("text = %q, want %q", got, want)
	}
	if !errors.Is(err, cause) {
		t.Error("the cause is lost")
	}
	typed, ok := err.(interface{ ErrorType() string })
	if !ok || typed.ErrorType() != "ssh_unreachable" {
		t.Errorf("ErrorType missing or wrong on %T", err)
	}
	if fault.E("x", fault.Internal, nil) != nil || fault.Wrap("x", nil) != nil {
		t.Error("an error was made of nil")
	}
}

// Every kind has a reason that leads back to it, or none of its own.
func TestReasonsBelongToOneKind(t *testing.T) {
	for _, kind := range faulttest.Kinds() {
		reason := kind.Reason()
		if reason == fault.ReasonOther {
			continue
		}
		if reason.Kind() != kind {
			t.Errorf("%s: its reason %s belongs to %s", kind, reason, reason.Kind())
		}
	}
	seen := map[fault.Reason]bool{}
	for _, reason := range fault.Reasons() {
		if seen[reason] {
			t.Errorf("%s is listed twice", reason)
		}
		seen[reason] = true
		if reason.Reason() != reason {
			t.Errorf("%s does not lead to itself", reason)
		}
	}
}

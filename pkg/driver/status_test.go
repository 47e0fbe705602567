package driver

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault/faulttest"
)

func TestEveryKindHasItsCode(t *testing.T) {
	want := map[fault.Kind]codes.Code{
		fault.NotFound:       codes.NotFound,
		fault.Conflict:       codes.AlreadyExists,
		fault.Invalid:        codes.InvalidArgument,
		fault.OutOfRange:     codes.OutOfRange,
		fault.NoSpace:        codes.ResourceExhausted,
		fault.Timeout:        codes.DeadlineExceeded,
		fault.UnknownOutcome: codes.Unavailable,
		fault.Busy:           codes.FailedPrecondition,
		fault.Precondition:   codes.FailedPrecondition,
		fault.InFlight:       codes.Aborted,
		fault.Unavailable:    codes.Unavailable,
		fault.Unimplemented:  codes.Unimplemented,
		fault.Corrupt:        codes.DataLoss,
		fault.Canceled:       codes.Canceled,
		fault.Internal:       codes.Internal,
	}
	for _, kind := range faulttest.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			code, listed := want[kind]
			if !listed {
				t.Fatal("the kind is new: give it a code here and in status.go")
			}
			err := statusOf(fmt.Errorf("outside: %w", fault.Errorf("try", kind, "it did not work")))
			wantCode(t, err, code, "outside: try: it did not work")
		})
	}
	if len(want) != len(faulttest.Kinds()) {
		t.Errorf("%d kinds in the table, %d exist", len(want), len(faulttest.Kinds()))
	}
}

func TestStatusOfOtherErrors(t *testing.T) {
	tests := []struct {
		name string
		err  error
		code codes.Code
	}{
		{"nil", nil, codes.OK},
		{"without a class", errors.New("boom"), codes.Internal},
		{"deadline", fmt.Errorf("wait: %w", context.DeadlineExceeded), codes.DeadlineExceeded},
		{"canceled", context.Canceled, codes.Canceled},
		{"of an RPC that is not there", status.Error(codes.Unimplemented, "method X"), codes.Unimplemented},
		{"a class above a cause with another", fault.E("stage", fault.Unavailable, fault.Errorf("mount", fault.Busy, "busy")), codes.Unavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { wantCode(t, statusOf(tt.err), tt.code) })
	}
}

func TestReasonsThatKubeletMustNotTakeForFinal(t *testing.T) {
	final := map[codes.Code]bool{codes.Canceled: false, codes.DeadlineExceeded: false, codes.Unavailable: false, codes.ResourceExhausted: false, codes.Aborted: false}
	for _, reason := range []fault.Reason{
		fault.NVMeConnectRefused, fault.NVMeConnectTimeout, fault.NVMeDenied, fault.NVMeDeviceTimeout, fault.NVMeControllerLost,
		fault.SSHUnreachable, fault.SSHAuth, fault.SSHHostKey, fault.RouterOSLostReply, fault.StaleMount,
	} {
		code := codeOf(reason.Kind())
		if _, listed := final[code]; !listed {
			t.Errorf("%s becomes %s, after which kubelet never unstages", reason, code)
		}
	}
}

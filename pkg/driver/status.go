package driver

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// codeOf is the one table from kinds to gRPC codes (design.md §7).
func codeOf(kind fault.Kind) codes.Code {
	switch kind {
	case "":
		return codes.OK
	case fault.NotFound:
		return codes.NotFound
	case fault.Conflict:
		return codes.AlreadyExists
	case fault.Invalid:
		return codes.InvalidArgument
	case fault.OutOfRange:
		return codes.OutOfRange
	case fault.NoSpace:
		return codes.ResourceExhausted
	case fault.Timeout:
		return codes.DeadlineExceeded
	case fault.Busy, fault.Precondition:
		return codes.FailedPrecondition
	case fault.InFlight:
		return codes.Aborted
	case fault.Unavailable, fault.UnknownOutcome:
		return codes.Unavailable
	case fault.Unimplemented:
		return codes.Unimplemented
	case fault.Corrupt:
		return codes.DataLoss
	case fault.Canceled:
		return codes.Canceled
	default:
		return codes.Internal
	}
}

// statusOf makes the error that goes out. Embedded Unimplemented servers give a status already.
func statusOf(err error) error {
	if err == nil {
		return nil
	}
	if s, ok := status.FromError(err); ok && s.Code() == codes.Unimplemented {
		return err
	}
	return status.Error(codeOf(fault.KindOf(err)), err.Error())
}

func invalid(field, format string, args ...any) error {
	return fault.Errorf(field, fault.Invalid, format, args...)
}

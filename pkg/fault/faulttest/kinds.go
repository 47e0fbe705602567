// Package faulttest helps to test that all kinds of error are treated.
package faulttest

import "git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"

// Kinds lists all kinds. That none is missing is tested against the source of package fault.
func Kinds() []fault.Kind {
	return []fault.Kind{
		fault.NotFound, fault.Conflict, fault.Invalid, fault.OutOfRange, fault.NoSpace, fault.Timeout, fault.UnknownOutcome,
		fault.Busy, fault.Precondition, fault.InFlight, fault.Unavailable, fault.Unimplemented, fault.Corrupt, fault.Canceled,
		fault.Internal,
	}
}

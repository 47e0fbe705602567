package fault

// Kind decides the gRPC code of an error.
type Kind string

// The kinds. The list is closed: a new one needs a row in pkg/driver/status.go and a place in faulttest.
const (
	NotFound       Kind = "not_found"
	Conflict       Kind = "conflict"        // exists, but differs from what was asked
	Invalid        Kind = "invalid"         // the request is wrong; the error names the field
	OutOfRange     Kind = "out_of_range"    // a size outside of what was asked or can be had
	NoSpace        Kind = "no_space"        // the array or pool is full
	Timeout        Kind = "timeout"         // a deadline passed
	UnknownOutcome Kind = "unknown_outcome" // a command was sent and its reply never came
	Busy           Kind = "busy"            // in use: nothing was done to it
	Precondition   Kind = "precondition"    // the state of things forbids it; the error says what to do
	InFlight       Kind = "in_flight"       // another operation on the same volume is running
	Unavailable    Kind = "unavailable"     // array or target cannot be reached now
	Unimplemented  Kind = "unimplemented"
	Corrupt        Kind = "corrupt" // data on the volume is damaged
	Canceled       Kind = "canceled"
	Internal       Kind = "internal"
)

// Kind makes a Kind a Class.
func (k Kind) Kind() Kind { return k }

// Reason is the reason of an error of which only the kind is known.
func (k Kind) Reason() Reason {
	switch k {
	case NotFound:
		return ReasonNotFound
	case Conflict:
		return ReasonConflict
	case Invalid:
		return ReasonInvalidArgument
	case OutOfRange:
		return ReasonOutOfRange
	case NoSpace:
		return ReasonNoSpace
	case Timeout:
		return ReasonTimeout
	case UnknownOutcome:
		return RouterOSLostReply
	case Busy:
		return ReasonBusy
	case InFlight:
		return ReasonInFlight
	case Unavailable:
		return ReasonUnavailable
	case Corrupt:
		return FSCorrupt
	case Canceled:
		return ReasonCanceled
	default:
		return ReasonOther
	}
}

package fault

// Reason is the error.type of metrics, spans and logs (telemetry contract).
type Reason string

// The reasons. The list is closed.
const (
	ReasonTimeout         Reason = "timeout"
	ReasonCanceled        Reason = "canceled"
	ReasonInFlight        Reason = "in_flight"
	ReasonInvalidArgument Reason = "invalid_argument"
	ReasonNotFound        Reason = "not_found"
	ReasonConflict        Reason = "conflict"
	ReasonOutOfRange      Reason = "out_of_range"
	ReasonNoSpace         Reason = "no_space"
	ReasonUnavailable     Reason = "unavailable"
	SSHUnreachable        Reason = "ssh_unreachable"
	SSHAuth               Reason = "ssh_auth"
	SSHHostKey            Reason = "ssh_host_key"
	RouterOSRejected      Reason = "routeros_rejected"
	RouterOSLostReply     Reason = "routeros_lost_reply"
	NVMeConnectRefused    Reason = "nvme_connect_refused"
	NVMeConnectTimeout    Reason = "nvme_connect_timeout"
	NVMeDenied            Reason = "nvme_denied"
	NVMeDeviceTimeout     Reason = "nvme_device_timeout"
	NVMeControllerLost    Reason = "nvme_controller_lost"
	FSCorrupt             Reason = "fs_corrupt"
	FSNotBlank            Reason = "fs_not_blank"
	MkfsFailed            Reason = "mkfs_failed"
	MountFailed           Reason = "mount_failed"
	MountBusy             Reason = "mount_busy"
	StaleMount            Reason = "stale_mount"
	ReasonBusy            Reason = "busy"
	ReasonOther           Reason = "_OTHER"
)

// Reasons lists all reasons.
func Reasons() []Reason {
	return []Reason{
		ReasonTimeout, ReasonCanceled, ReasonInFlight, ReasonInvalidArgument, ReasonNotFound, ReasonConflict,
		ReasonOutOfRange, ReasonNoSpace, ReasonUnavailable, SSHUnreachable, SSHAuth, SSHHostKey, RouterOSRejected,
		RouterOSLostReply, NVMeConnectRefused, NVMeConnectTimeout, NVMeDenied, NVMeDeviceTimeout, NVMeControllerLost,
		FSCorrupt, FSNotBlank, MkfsFailed, MountFailed, MountBusy, StaleMount, ReasonBusy, ReasonOther,
	}
}

// Reason makes a Reason a Class.
func (r Reason) Reason() Reason { return r }

// Kind is the one kind the reason belongs to. ReasonOther stands for every kind that
// has no reason of its own (precondition, unimplemented, internal); by itself it is Internal.
//
// What failed on the way to a device is Unavailable rather than Internal, so that kubelet
// goes on to retry and to unstage (design.md §6 rule 11).
func (r Reason) Kind() Kind {
	switch r {
	case ReasonTimeout, NVMeConnectTimeout, NVMeDeviceTimeout:
		return Timeout
	case ReasonCanceled:
		return Canceled
	case ReasonInFlight:
		return InFlight
	case ReasonInvalidArgument:
		return Invalid
	case ReasonNotFound:
		return NotFound
	case ReasonConflict:
		return Conflict
	case ReasonOutOfRange:
		return OutOfRange
	case ReasonNoSpace:
		return NoSpace
	case ReasonUnavailable, SSHUnreachable, SSHAuth, SSHHostKey, NVMeConnectRefused, NVMeDenied, NVMeControllerLost, StaleMount:
		return Unavailable
	case RouterOSLostReply:
		return UnknownOutcome
	case FSCorrupt:
		return Corrupt
	case FSNotBlank:
		return Precondition
	case ReasonBusy, MountBusy:
		return Busy
	default:
		return Internal
	}
}

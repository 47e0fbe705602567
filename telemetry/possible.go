package telemetry

import (
	"slices"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// The possible (operation, error.type) pairs. They start at 0, so all of them are series
// from the start; leaving out what cannot happen (a mkfs failure of a CreateVolume) keeps
// the page within the budget of 2,500 series for each role:
//
//	controller: 8 operations, 14 to 16 reasons each, and 10 RouterOS commands with 10 to 15
//	node:       5 operations, 13 to 22 reasons each, and the connects with 12
//
// against 27 reasons for each of them. The cross product alone would not break the budget,
// but together with the histograms of the RPCs (18 series for each method and code) it does.

// anyReasons can end every step: what a request, a lock or a context can cause.
func anyReasons() []fault.Reason {
	return []fault.Reason{
		fault.ReasonTimeout, fault.ReasonCanceled, fault.ReasonInFlight, fault.ReasonInvalidArgument, fault.ReasonNotFound,
		fault.ReasonUnavailable, fault.ReasonBusy, fault.ReasonOther,
	}
}

func sshReasons() []fault.Reason {
	return []fault.Reason{fault.SSHUnreachable, fault.SSHAuth, fault.SSHHostKey}
}

func dialReasons() []fault.Reason {
	return append(sshReasons(), fault.ReasonTimeout, fault.ReasonCanceled, fault.ReasonUnavailable, fault.ReasonOther)
}

// commandReasons are the possible reasons of a failed exec: what only a change can meet is
// left out for those that look.
func commandReasons(command Command) []fault.Reason {
	reasons := append(sshReasons(), fault.ReasonTimeout, fault.ReasonCanceled, fault.ReasonUnavailable, fault.ReasonNotFound,
		fault.RouterOSRejected, fault.RouterOSLostReply, fault.ReasonOther)
	switch command {
	case CommandDiskAdd, CommandDiskGrow:
		reasons = append(reasons, fault.ReasonConflict, fault.ReasonBusy, fault.ReasonNoSpace, fault.ReasonInvalidArgument, fault.ReasonOutOfRange)
	case CommandDiskRemove, CommandExport, CommandUnexport:
		reasons = append(reasons, fault.ReasonConflict, fault.ReasonBusy, fault.ReasonNoSpace)
	}
	return reasons
}

func connectReasons() []fault.Reason {
	return []fault.Reason{
		fault.ReasonTimeout, fault.ReasonCanceled, fault.ReasonInvalidArgument, fault.ReasonNotFound, fault.ReasonUnavailable, fault.ReasonBusy,
		fault.NVMeConnectRefused, fault.NVMeConnectTimeout, fault.NVMeDenied, fault.NVMeDeviceTimeout, fault.NVMeControllerLost,
		fault.ReasonOther,
	}
}

// operationReasons are the possible reasons of a failed op.
func operationReasons(op Operation) []fault.Reason {
	if !op.node() {
		return slices.Concat(anyReasons(), sshReasons(), controllerReasons(op))
	}
	return slices.Concat(anyReasons(), nodeReasons(op))
}

func controllerReasons(op Operation) []fault.Reason {
	reasons := []fault.Reason{fault.ReasonConflict, fault.RouterOSRejected, fault.RouterOSLostReply}
	switch op {
	case OpCreate, OpClone, OpExpand, OpSnapshotCreate:
		reasons = append(reasons, fault.ReasonOutOfRange, fault.ReasonNoSpace)
	}
	return reasons
}

func nodeReasons(op Operation) []fault.Reason {
	switch op {
	case OpStage:
		return []fault.Reason{
			fault.ReasonConflict, fault.ReasonOutOfRange, fault.ReasonNoSpace,
			fault.NVMeConnectRefused, fault.NVMeConnectTimeout, fault.NVMeDenied, fault.NVMeDeviceTimeout, fault.NVMeControllerLost,
			fault.FSCorrupt, fault.FSNotBlank, fault.MkfsFailed, fault.MountFailed, fault.MountBusy, fault.StaleMount,
		}
	case OpPublish:
		return []fault.Reason{
			fault.ReasonConflict, fault.NVMeControllerLost, fault.FSCorrupt, fault.MountFailed, fault.MountBusy, fault.StaleMount,
		}
	case OpNodeExpand:
		return []fault.Reason{
			fault.ReasonOutOfRange, fault.ReasonNoSpace, fault.NVMeDeviceTimeout, fault.NVMeControllerLost,
			fault.FSCorrupt, fault.MountFailed, fault.StaleMount,
		}
	default: // unstage, unpublish
		return []fault.Reason{
			fault.NVMeControllerLost, fault.NVMeDeviceTimeout, fault.MountFailed, fault.MountBusy, fault.StaleMount,
		}
	}
}

package telemetry

// The closed value sets of the contract. Nothing else may become a metric attribute.

// Operation is what a CSI call does to a volume.
type Operation string

// Operations of the controller, then of the node.
const (
	OpCreate         Operation = "create"
	OpDelete         Operation = "delete"
	OpClone          Operation = "clone"
	OpExpand         Operation = "expand"
	OpSnapshotCreate Operation = "snapshot_create"
	OpSnapshotDelete Operation = "snapshot_delete"
	OpAttach         Operation = "attach"
	OpDetach         Operation = "detach"
	OpStage          Operation = "stage"
	OpUnstage        Operation = "unstage"
	OpPublish        Operation = "publish"
	OpUnpublish      Operation = "unpublish"
	OpNodeExpand     Operation = "node_expand"
)

// Operations lists all operations.
func Operations() []Operation {
	return []Operation{
		OpCreate, OpDelete, OpClone, OpExpand, OpSnapshotCreate, OpSnapshotDelete, OpAttach, OpDetach,
		OpStage, OpUnstage, OpPublish, OpUnpublish, OpNodeExpand,
	}
}

// node tells the operations of the node from those of the controller.
func (op Operation) node() bool {
	switch op {
	case OpStage, OpUnstage, OpPublish, OpUnpublish, OpNodeExpand:
		return true
	default:
		return false
	}
}

// component is the half of the driver that does op.
func (op Operation) component() Component {
	if op.node() {
		return ComponentNode
	}
	return ComponentController
}

// Status is how an operation ended.
type Status string

// StatusNoop is an idempotent repeat that did nothing: it keeps latencies honest.
const (
	StatusSuccess Status = "success"
	StatusNoop    Status = "noop"
	StatusFailure Status = "failure"
)

// Statuses lists all statuses of volume operations.
func Statuses() []Status { return []Status{StatusSuccess, StatusNoop, StatusFailure} }

// StatusOf is StatusFailure for an error, else StatusSuccess.
func StatusOf(err error) Status {
	if err != nil {
		return StatusFailure
	}
	return StatusSuccess
}

// MountOp is a step on a file system or mount.
type MountOp string

// The mount steps.
const (
	MountOpMount   MountOp = "mount"
	MountOpBind    MountOp = "bind_mount"
	MountOpUnmount MountOp = "unmount"
	MountOpMkfs    MountOp = "mkfs"
	MountOpFsck    MountOp = "fsck"
	MountOpResize  MountOp = "resize"
)

// MountOps lists all mount steps.
func MountOps() []MountOp {
	return []MountOp{MountOpMount, MountOpBind, MountOpUnmount, MountOpMkfs, MountOpFsck, MountOpResize}
}

// DisconnectReason is who takes an NVMe controller down.
type DisconnectReason string

// The reasons of a disconnect.
const (
	DisconnectUnstage  DisconnectReason = "unstage"
	DisconnectRollback DisconnectReason = "rollback"
	DisconnectRecovery DisconnectReason = "recovery"
	DisconnectOrphan   DisconnectReason = "orphan"
)

// DisconnectReasons lists all reasons of a disconnect.
func DisconnectReasons() []DisconnectReason {
	return []DisconnectReason{DisconnectUnstage, DisconnectRollback, DisconnectRecovery, DisconnectOrphan}
}

// FormatDecision is what became of the question whether to run mkfs.
type FormatDecision string

// The format decisions.
const (
	FormatDone              FormatDecision = "formatted"
	FormatAlready           FormatDecision = "already_formatted"
	FormatRefusedNotBlank   FormatDecision = "refused_not_blank"
	FormatRefusedUnreadable FormatDecision = "refused_unreadable"
	FormatRefusedIdentity   FormatDecision = "refused_identity"
	FormatRefusedInUse      FormatDecision = "refused_in_use"
)

// FormatDecisions lists all format decisions.
func FormatDecisions() []FormatDecision {
	return []FormatDecision{
		FormatDone, FormatAlready, FormatRefusedNotBlank, FormatRefusedUnreadable, FormatRefusedIdentity, FormatRefusedInUse,
	}
}

// ControllerState is the state of an NVMe controller as sysfs names it.
type ControllerState string

// The controller states; what the kernel says beyond them is ControllerUnknown.
const (
	ControllerLive       ControllerState = "live"
	ControllerConnecting ControllerState = "connecting"
	ControllerResetting  ControllerState = "resetting"
	ControllerDeleting   ControllerState = "deleting"
	ControllerDead       ControllerState = "dead"
	ControllerUnknown    ControllerState = "unknown"
)

// ControllerStates lists all controller states.
func ControllerStates() []ControllerState {
	return []ControllerState{
		ControllerLive, ControllerConnecting, ControllerResetting, ControllerDeleting, ControllerDead, ControllerUnknown,
	}
}

// Reconnect is how an outage of a controller ended.
type Reconnect string

// The ends of an outage: the kernel reconnected, or removed the controller with its device.
const (
	ReconnectRecovered Reconnect = "recovered"
	ReconnectLost      Reconnect = "lost"
)

// Reconnects lists all ends of an outage.
func Reconnects() []Reconnect { return []Reconnect{ReconnectRecovered, ReconnectLost} }

// StaleReason is why a mount is not what was staged any more.
type StaleReason string

// The stale reasons.
const (
	StaleDeviceGone    StaleReason = "device_gone"
	StaleDeviceChanged StaleReason = "device_changed"
	StaleReadOnly      StaleReason = "read_only"
	StaleIOError       StaleReason = "io_error"
	StaleStatTimeout   StaleReason = "stat_timeout"
)

// StaleReasons lists all stale reasons.
func StaleReasons() []StaleReason {
	return []StaleReason{StaleDeviceGone, StaleDeviceChanged, StaleReadOnly, StaleIOError, StaleStatTimeout}
}

// StatusSkipped is a recovery that found nothing to do, or could not begin because the target is away.
const StatusSkipped Status = "skipped"

// RecoveryStatuses lists all statuses of recoveries.
func RecoveryStatuses() []Status { return []Status{StatusSuccess, StatusFailure, StatusSkipped} }

// MountState is how a staged volume is.
type MountState string

// The mount states. Unknown is what cannot be looked at now, such as while its target is away.
const (
	MountHealthy  MountState = "healthy"
	MountStale    MountState = "stale"
	MountReadOnly MountState = "read_only"
	MountUnknown  MountState = "unknown"
)

// MountStates lists all mount states.
func MountStates() []MountState {
	return []MountState{MountHealthy, MountStale, MountReadOnly, MountUnknown}
}

// VolumeState is what a volume on the array is to this cluster.
type VolumeState string

// The volume states. Managed is a volume that bears the cluster's mark; orphan is one of these that has had no
// PersistentVolume for long.
const (
	VolumeManaged VolumeState = "managed"
	VolumeOrphan  VolumeState = "orphan"
)

// Command names a RouterOS exec. It is the closed set of rds_csi.routeros.command.
type Command string

// The RouterOS commands.
const (
	CommandResource    Command = "system_resource"
	CommandDiskPrepare Command = "disk_prepare" // what CreateVolume must know first
	CommandDiskAdd     Command = "disk_add"
	CommandDiskGet     Command = "disk_get"
	CommandDiskList    Command = "disk_list"
	CommandDiskGrow    Command = "disk_grow"
	CommandDiskRemove  Command = "disk_remove"
	CommandExport      Command = "disk_export"
	CommandUnexport    Command = "disk_unexport"
	CommandPoolGet     Command = "pool_get"
)

// Commands lists all RouterOS commands.
func Commands() []Command {
	return []Command{
		CommandResource, CommandDiskPrepare, CommandDiskAdd, CommandDiskGet, CommandDiskList, CommandDiskGrow,
		CommandDiskRemove, CommandExport, CommandUnexport, CommandPoolGet,
	}
}

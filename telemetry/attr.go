package telemetry

import "go.opentelemetry.io/otel/attribute"

// Typed attribute helpers: the only attributes spans of the driver carry. Names are
// OpenTelemetry semantic conventions where one exists, else rds_csi.*.

// VolumeID is the CSI volume id.
func VolumeID(id string) Attr { return attribute.String("container.csi.volume.id", id) }

// PluginName is the CSI driver name.
func PluginName(name string) Attr { return attribute.String("container.csi.plugin.name", name) }

// PVCName is the name of the claim the volume was made for.
func PVCName(name string) Attr { return attribute.String("k8s.persistentvolumeclaim.name", name) }

// PVCNamespace is the namespace of that claim (k8s.namespace.name would be the driver's own).
func PVCNamespace(ns string) Attr { return attribute.String("rds_csi.pvc.namespace", ns) }

// VolumeMode is "filesystem" or "block".
func VolumeMode(mode string) Attr { return attribute.String("rds_csi.volume.mode", mode) }

// FilesystemType is the file system asked for or found.
func FilesystemType(fs string) Attr { return attribute.String("system.filesystem.type", fs) }

// FilesystemMode is "rw" or "ro".
func FilesystemMode(mode string) Attr { return attribute.String("system.filesystem.mode", mode) }

// Mountpoint is where it is mounted.
func Mountpoint(path string) Attr { return attribute.String("system.filesystem.mountpoint", path) }

// Device is the block device.
func Device(path string) Attr { return attribute.String("system.device", path) }

// OperationAttr is the volume operation of a call.
func OperationAttr(op Operation) Attr { return attribute.String("rds_csi.operation", string(op)) }

// StatusAttr is how the operation ended.
func StatusAttr(status Status) Attr { return attribute.String("rds_csi.status", string(status)) }

// RouterOSCommand is the name of a RouterOS exec, never its text.
func RouterOSCommand(c Command) Attr { return attribute.String("rds_csi.routeros.command", string(c)) }

// Attempt counts from 1.
func Attempt(n int) Attr { return attribute.Int("rds_csi.attempt", n) }

// ReplyBytes is the length of a reply in bytes.
func ReplyBytes(n int) Attr { return attribute.Int("rds_csi.routeros.reply.size", n) }

// ServerAddress is the host of the peer.
func ServerAddress(host string) Attr { return attribute.String("server.address", host) }

// ServerPort is the TCP port of the peer.
func ServerPort(port int) Attr { return attribute.Int("server.port", port) }

// TransportTCP says that the peer is reached over TCP.
func TransportTCP() Attr { return attribute.String("network.transport", "tcp") }

// NQN is the subsystem's NVMe qualified name.
func NQN(nqn string) Attr { return attribute.String("rds_csi.nvme.nqn", nqn) }

// Controller is the kernel's name of the NVMe controller, such as nvme3.
func Controller(name string) Attr { return attribute.String("rds_csi.nvme.controller", name) }

// PollCount is how often a wait had to look.
func PollCount(n int) Attr { return attribute.Int("rds_csi.poll.count", n) }

// StaleReasonAttr is why a mount was found stale.
func StaleReasonAttr(reason StaleReason) Attr {
	return attribute.String("rds_csi.stale.reason", string(reason))
}

// Executable is the base name of a program that was run; arguments are never recorded.
func Executable(name string) Attr { return attribute.String("process.executable.name", name) }

// ExitCode is the program's exit status.
func ExitCode(code int) Attr { return attribute.Int("process.exit.code", code) }

package driver

import (
	"context"
	"regexp"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// Connector attaches exported volumes to this node.
type Connector interface {
	Connect(ctx context.Context, t nvme.Target) (nvme.Device, error)
	Find(ctx context.Context, nqn, hostNQN string) (nvme.Device, error)
	Still(ctx context.Context, nqn, hostNQN string, held nvme.Device) error
	Rescan(ctx context.Context, nqn, hostNQN string, want uint64) (nvme.Device, error)
	Disconnect(ctx context.Context, nqn, hostNQN string, reason telemetry.DisconnectReason) error
	Attached(hostNQN string) ([]string, error)
}

// Supervisor tells how an attachment is without touching its device, and takes it away by force.
type Supervisor interface {
	Status(ctx context.Context, nqn, hostNQN string) (nvme.Status, error)
	Statuses(ctx context.Context, hostNQN string) (map[string]nvme.StatusOrError, error)
	Refresh(ctx context.Context, nqn, hostNQN string) error
	Revoke(ctx context.Context, nqn, hostNQN string, reason telemetry.DisconnectReason) error
}

// Transport is the whole of this node's side of NVMe/TCP. *nvme.Host and *nvme.Loop are some.
type Transport interface {
	Connector
	Supervisor
}

// DriverConfig is all that a Driver is made of. Its name is a contract (design.md §8).
type DriverConfig struct {
	Name       string // CSI driver name
	Version    string
	Controller *ControllerConfig // nil: no controller service
	Node       *NodeConfig       // nil: no node service
	ArrayName  string            // names the array in volume ids
	Metrics    *telemetry.Metrics
	Log        *zap.Logger
	// ServerOptions go to the gRPC server first: telemetry's stats handler.
	ServerOptions []grpc.ServerOption
}

// ControllerConfig is what the controller service works with.
type ControllerConfig struct {
	Array     *rds.Array
	ClusterID string
	HostACL   bool
	Addresses []string // where nodes reach the array's NVMe/TCP, unless a StorageClass says otherwise
	Port      int
}

// NodeConfig is what the node service works with.
type NodeConfig struct {
	ID      NodeID
	BootID  string // of the kernel (host.BootID)
	NVMe    Transport
	Dev     Transport // nil, or for volumes of a simulated array
	Mounter *mount.Mounter
	Records *stage.Store
	// MaxVolumes is how many volumes of the driver the scheduler may place on this node; 0 sets no limit.
	MaxVolumes int64
	Tracer     *telemetry.Tracer // for recoveries, which no call starts
	// Attachments tells what the API server has of this node's VolumeAttachments; nil without an API server.
	Attachments Attachments
	// DetachedGrace is how long a VolumeAttachment has to be absent before a volume that is lost is let go of;
	// 0: DefaultDetachedGrace.
	DetachedGrace time.Duration
	Events        Events // nil: nobody is told
}

// Events tells people, where they look, what happened to a volume. It returns at once and never fails.
// *kube.Events is one.
type Events interface {
	Volume(r *stage.Record, reason telemetry.EventReason, message string)
}

// Attachments asks the API server itself, never a cache, for VolumeAttachments of this driver on this node.
// *kube.Attachments is one. An error is fault.Unavailable where no answer came; others are about one volume.
type Attachments interface {
	// Find gives the one by which a volume is published with a publish context that is the one asked for.
	Find(ctx context.Context, volumeID string, is func(publishContext map[string]string) bool) (a stage.Attachment, found bool, err error)
	// Gone is true only on the API server's word that one that was seen, and any other of that volume, is no more.
	Gone(ctx context.Context, volumeID string, seen stage.Attachment) (bool, error)
}

// validClusterID keeps cluster ids free of what separates fields in the array's comments.
var validClusterID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$`)

// ValidClusterID tells whether id can be a cluster id.
func ValidClusterID(id string) bool { return validClusterID.MatchString(id) }

// validName is a CSI driver name (CSI spec, GetPluginInfoResponse.name).
var validName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?$`)

// ValidName tells whether name can be a CSI driver's name.
func ValidName(name string) bool { return validName.MatchString(name) }

// validLabelEnd: what ends a label's name in Kubernetes, as an array's name does (topology.go).
var validLabelEnd = regexp.MustCompile(`[A-Za-z0-9]$`)

// ValidArrayName tells whether name can be an array's name in volume ids and in labels.
func ValidArrayName(name string) bool {
	return len(name) <= 32 && validID.MatchString(name) && validLabelEnd.MatchString(name)
}

package driver

import (
	"context"
	"regexp"

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
	Tracer  *telemetry.Tracer // for recoveries, which no call starts
}

// validClusterID keeps cluster ids free of what separates fields in the array's comments.
var validClusterID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$`)

// ValidClusterID tells whether id can be a cluster id.
func ValidClusterID(id string) bool { return validClusterID.MatchString(id) }

// validName is a CSI driver name (CSI spec, GetPluginInfoResponse.name).
var validName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?$`)

// ValidName tells whether name can be a CSI driver's name.
func ValidName(name string) bool { return validName.MatchString(name) }

// ValidArrayName tells whether name can be an array's name in volume ids.
func ValidArrayName(name string) bool { return len(name) <= 32 && validID.MatchString(name) }

package driver

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
)

type node struct {
	csi.UnimplementedNodeServer
	driver *Driver
	cfg    NodeConfig
	stale  *staleSeen
	gone   *goneSeen
	// stopped is the volume at which the last round of questions to Kubernetes ended early; of AskKubernetes alone.
	stopped string
}

func newNode(d *Driver, cfg NodeConfig) *node {
	return &node{driver: d, cfg: cfg, stale: &staleSeen{since: map[string]time.Time{}}, gone: newGoneSeen(cfg.DetachedGrace)}
}

func (n *node) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{
		NodeId: n.cfg.ID.String(), MaxVolumesPerNode: n.cfg.MaxVolumes, AccessibleTopology: n.driver.topology(),
	}, nil
}

func (n *node) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	resp := &csi.NodeGetCapabilitiesResponse{}
	for _, rpc := range []csi.NodeServiceCapability_RPC_Type{
		csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME,
		csi.NodeServiceCapability_RPC_GET_VOLUME_STATS,
		csi.NodeServiceCapability_RPC_EXPAND_VOLUME,
		csi.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	} {
		resp.Capabilities = append(resp.Capabilities, &csi.NodeServiceCapability{
			Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: rpc}},
		})
	}
	return resp, nil
}

// connector: a simulated array's volumes may be attached without NVMe, if the node was told so.
func (n *node) connector(simulated bool) Transport {
	if simulated && n.cfg.Dev != nil {
		return n.cfg.Dev
	}
	return n.cfg.NVMe
}

func (n *node) connectorOf(r *stage.Record) Transport {
	return n.connector(r.Context[keySimulated] == yes)
}

// attachmentOf reads the publish context of a volume for this node.
func (n *node) attachmentOf(id volumeID, context map[string]string) (attachment, error) {
	a, err := parseAttachment(context, n.cfg.ID)
	a.target.Fenced = rds.MatchesSlot(a.target.NQN, id.Slot)
	return a, err
}

// attachmentIn reads the publish context that a record has kept.
func (n *node) attachmentIn(r *stage.Record) (attachment, error) {
	id, err := n.driver.parseVolumeID(r.VolumeID)
	if err != nil {
		return attachment{}, err
	}
	return n.attachmentOf(id, r.Context)
}

// record finds what this node has staged of a volume.
func (n *node) record(id string) (*stage.Record, error) {
	v, err := n.driver.parseVolumeID(id)
	if err != nil {
		return nil, err
	}
	r, found, err := n.load(v.String())
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fault.Errorf("", fault.NotFound, "volume %s is not staged on this node", v)
	}
	return r, nil
}

// load: what a record that cannot be read stands for is unknown, and still on the node.
func (n *node) load(id string) (r *stage.Record, found bool, err error) {
	r, found, err = n.cfg.Records.Load(id)
	return r, found, fault.E("", fault.Unavailable, err)
}

func (n *node) save(r *stage.Record) error {
	return fault.E("", fault.Internal, n.cfg.Records.Save(r))
}

// device finds the live device of a volume that is staged. That the volume exists is not in
// doubt, so a controller that went away is not NotFound to the caller.
func (n *node) device(ctx context.Context, r *stage.Record) (nvme.Device, error) {
	dev, err := n.connectorOf(r).Find(ctx, r.NQN, r.HostNQN)
	if isNotFound(err) {
		return nvme.Device{}, fault.Errorf("", fault.NVMeControllerLost, "%w; it must be staged again", err)
	}
	return dev, err
}

// maxPath is PATH_MAX, in bytes with the closing NUL.
const maxPath = 4096

func checkPath(field, path string) error {
	switch {
	case path == "":
		return invalid(field, "is missing")
	case len(path) >= maxPath || strings.ContainsFunc(path, isControl):
		return invalid(field, "%.200q is longer than the kernel takes, or has control characters", path)
	case !filepath.IsAbs(path) || filepath.Clean(path) != path:
		return invalid(field, "%.200q is no clean absolute path", path)
	default:
		return nil
	}
}

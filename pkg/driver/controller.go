package driver

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

type controller struct {
	csi.UnimplementedControllerServer
	driver *Driver
	cfg    ControllerConfig
}

func (c *controller) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	resp := &csi.ControllerGetCapabilitiesResponse{}
	for _, rpc := range []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_PUBLISH_UNPUBLISH_VOLUME,
		csi.ControllerServiceCapability_RPC_LIST_VOLUMES,
		csi.ControllerServiceCapability_RPC_LIST_VOLUMES_PUBLISHED_NODES,
		csi.ControllerServiceCapability_RPC_GET_VOLUME,
		csi.ControllerServiceCapability_RPC_GET_CAPACITY,
		csi.ControllerServiceCapability_RPC_EXPAND_VOLUME,
		csi.ControllerServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	} {
		resp.Capabilities = append(resp.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: rpc}},
		})
	}
	return resp, nil
}

func (c *controller) ValidateVolumeCapabilities(ctx context.Context, req *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	slot, err := c.driver.slotOf(req.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if len(req.GetVolumeCapabilities()) == 0 {
		return nil, invalid("volume_capabilities", "are missing")
	}
	if _, err := c.cfg.Array.Get(ctx, slot); err != nil {
		return nil, err
	}
	err = checkCapabilities(req.GetVolumeCapabilities(), c.cfg.HostACL)
	if err == nil {
		err = c.driver.checkParameters(req.GetParameters())
	}
	if err != nil {
		return &csi.ValidateVolumeCapabilitiesResponse{Message: err.Error()}, nil
	}
	return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{
		VolumeContext:      req.GetVolumeContext(),
		VolumeCapabilities: req.GetVolumeCapabilities(),
		Parameters:         req.GetParameters(),
	}}, nil
}

func (c *controller) GetCapacity(ctx context.Context, req *csi.GetCapacityRequest) (*csi.GetCapacityResponse, error) {
	if err := c.driver.checkParameters(req.GetParameters()); err != nil {
		return nil, err
	}
	if caps := req.GetVolumeCapabilities(); len(caps) > 0 && checkCapabilities(caps, c.cfg.HostACL) != nil {
		return &csi.GetCapacityResponse{}, nil // nothing can be made that way
	}
	if t := req.GetAccessibleTopology(); t != nil && !c.driver.reaches(t) {
		return &csi.GetCapacityResponse{}, nil // nor anywhere else
	}
	pool, err := c.cfg.Array.Pool(ctx, req.GetParameters()[keyPool])
	if err != nil {
		return nil, err
	}
	available := int64(pool.Available())
	return &csi.GetCapacityResponse{AvailableCapacity: available, MaximumVolumeSize: wrapperspb.Int64(available)}, nil
}

func (c *controller) ControllerGetVolume(ctx context.Context, req *csi.ControllerGetVolumeRequest) (*csi.ControllerGetVolumeResponse, error) {
	slot, err := c.driver.slotOf(req.GetVolumeId())
	if err != nil {
		return nil, err
	}
	v, err := c.cfg.Array.Get(ctx, slot)
	if err != nil {
		return nil, err
	}
	return &csi.ControllerGetVolumeResponse{
		Volume: c.volume(v),
		Status: &csi.ControllerGetVolumeResponse_VolumeStatus{PublishedNodeIds: v.Record.Holders},
	}, nil
}

// volume names a volume as CSI knows it: by the short form if no driver made it, since that is
// what a hand-written PV bears.
func (c *controller) volume(v rds.Volume) *csi.Volume {
	id := v.Slot
	if c.cfg.Array.Marked(v) {
		id = volumeID{Array: c.driver.cfg.ArrayName, Slot: v.Slot}.String()
	}
	return &csi.Volume{VolumeId: id, CapacityBytes: int64(v.Size), AccessibleTopology: []*csi.Topology{c.driver.topology()}}
}

const (
	// defaultSize is that of a volume of which nobody says how large it should be.
	defaultSize = 1 << 30
	// sizeStep is what the array rounds sizes up to: what is to stay below a limit is rounded down.
	sizeStep = 4096
)

// sizeOf reads a capacity range.
func sizeOf(r *csi.CapacityRange) (rds.Size, error) {
	required, limit := r.GetRequiredBytes(), r.GetLimitBytes()
	switch {
	case required < 0 || limit < 0:
		return rds.Size{}, invalid("capacity_range", "is negative")
	case limit != 0 && required > limit:
		return rds.Size{}, invalid("capacity_range", "at least %d bytes and at most %d is a contradiction", required, limit)
	default:
		return rds.Size{Required: uint64(required), Limit: uint64(limit)}, nil
	}
}

// orDefaultSize asks for the default size where only a limit is given, or nothing.
func orDefaultSize(s rds.Size) rds.Size {
	if s.Required == 0 {
		s.Required = defaultSize
		if s.Limit != 0 {
			s.Required = min(defaultSize, max(s.Limit/sizeStep, 1)*sizeStep)
		}
	}
	return s
}

func isNotFound(err error) bool { return fault.KindOf(err) == fault.NotFound }

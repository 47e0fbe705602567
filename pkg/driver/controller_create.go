package driver

import (
	"context"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

func (c *controller) CreateVolume(ctx context.Context, req *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	if err := c.checkCreate(req); err != nil {
		return nil, err
	}
	size, err := sizeOf(req.GetCapacityRange())
	if err != nil {
		return nil, err
	}
	params := req.GetParameters()
	v, existed, err := c.cfg.Array.Create(ctx, rds.CreateRequest{
		Name: req.GetName(), Size: orDefaultSize(size), Pool: params[keyPool],
		Origin: rds.Origin{PVCNamespace: params[keyPVCNamespace], PVCName: params[keyPVCName], PVName: params[keyPVName]},
	})
	if err != nil {
		return nil, err
	}
	if existed {
		noop(ctx)
	}
	volume := c.volume(v)
	volume.VolumeContext = volumeContext(params)
	return &csi.CreateVolumeResponse{Volume: volume}, nil
}

func (c *controller) checkCreate(req *csi.CreateVolumeRequest) error {
	name := req.GetName()
	switch {
	case name == "":
		return invalid("name", "is missing")
	case len(name) > maxID || strings.ContainsFunc(name, isControl):
		return invalid("name", "%.140q is longer than %d bytes or has control characters", name, maxID)
	case req.GetVolumeContentSource() != nil:
		return invalid("volume_content_source", "volumes from snapshots or other volumes are not supported")
	case len(req.GetMutableParameters()) > 0:
		return invalid("mutable_parameters", "are not supported")
	}
	if err := checkCapabilities(req.GetVolumeCapabilities(), c.cfg.HostACL); err != nil {
		return err
	}
	if err := c.driver.checkTopology(req.GetAccessibilityRequirements()); err != nil {
		return err
	}
	return c.driver.checkParameters(req.GetParameters())
}

// isControl tells the characters that CSI bans from strings (spec, "Size Limits").
func isControl(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r >= 0x7f && r <= 0x9f
}

func (c *controller) DeleteVolume(ctx context.Context, req *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	slot, err := c.driver.slotOf(req.GetVolumeId())
	if isNotFound(err) {
		noop(ctx) // no volume can have this id
		return &csi.DeleteVolumeResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	existed, err := c.cfg.Array.Delete(ctx, slot)
	if err != nil {
		return nil, err
	}
	if !existed {
		noop(ctx)
	}
	return &csi.DeleteVolumeResponse{}, nil
}

func (c *controller) ControllerExpandVolume(ctx context.Context, req *csi.ControllerExpandVolumeRequest) (*csi.ControllerExpandVolumeResponse, error) {
	slot, err := c.driver.slotOf(req.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if req.GetCapacityRange().GetRequiredBytes() == 0 && req.GetCapacityRange().GetLimitBytes() == 0 {
		return nil, invalid("capacity_range", "is missing")
	}
	size, err := sizeOf(req.GetCapacityRange())
	if err != nil {
		return nil, err
	}
	v, grown, err := c.cfg.Array.Grow(ctx, slot, size)
	if err != nil {
		return nil, err
	}
	if !grown {
		noop(ctx)
	}
	// Also after a repeat: the first answer may have been lost, and the node's part is still to be done.
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: int64(v.Size), NodeExpansionRequired: true}, nil
}

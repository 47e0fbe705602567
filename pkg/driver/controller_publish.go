package driver

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

func (c *controller) ControllerPublishVolume(ctx context.Context, req *csi.ControllerPublishVolumeRequest) (*csi.ControllerPublishVolumeResponse, error) {
	slot, err := c.driver.slotOf(req.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if req.GetNodeId() == "" {
		return nil, invalid("node_id", "is missing")
	}
	if err := c.checkPublish(req); err != nil {
		return nil, err
	}
	node, err := parseNodeID(req.GetNodeId())
	if err != nil {
		return nil, err
	}
	conn, err := c.driver.connection(req.GetVolumeContext())
	if err != nil {
		return nil, err
	}
	p, err := c.cfg.Array.Publish(ctx, rds.PublishRequest{
		Slot:        slot,
		Node:        rds.Node{ID: node.String(), HostNQN: node.HostNQN()},
		Mode:        modeOf(req.GetVolumeCapability()),
		TraceParent: telemetry.TraceParent(ctx),
	})
	if err != nil {
		return nil, err
	}
	if p.Repeat {
		noop(ctx)
	}
	return &csi.ControllerPublishVolumeResponse{PublishContext: publishContext(p, conn)}, nil
}

func modeOf(capability *csi.VolumeCapability) rds.Mode {
	switch {
	case shared(capability):
		return rds.ModeShared
	case capability.GetBlock() != nil:
		return rds.ModeBlock
	default:
		return rds.ModeMount
	}
}

func (c *controller) checkPublish(req *csi.ControllerPublishVolumeRequest) error {
	if req.GetVolumeCapability() == nil {
		return invalid("volume_capability", "is missing")
	}
	if req.GetReadonly() {
		return invalid("readonly", "the array has no read-only export, and PUBLISH_READONLY is not announced")
	}
	return checkCapabilities([]*csi.VolumeCapability{req.GetVolumeCapability()}, c.cfg.HostACL)
}

func (c *controller) ControllerUnpublishVolume(ctx context.Context, req *csi.ControllerUnpublishVolumeRequest) (*csi.ControllerUnpublishVolumeResponse, error) {
	slot, err := c.driver.slotOf(req.GetVolumeId())
	if err != nil && !isNotFound(err) {
		return nil, err
	}
	node, nodeErr := nodeToLeave(req.GetNodeId())
	if isNotFound(err) || nodeErr != nil {
		noop(ctx) // neither such a volume nor such a node can ever have been published
		return &csi.ControllerUnpublishVolumeResponse{}, nil
	}
	changed, err := c.cfg.Array.Unpublish(ctx, slot, node)
	if err != nil {
		return nil, err
	}
	if !changed {
		noop(ctx)
	}
	return &csi.ControllerUnpublishVolumeResponse{}, nil
}

// nodeToLeave: an empty id means every node.
func nodeToLeave(id string) (rds.Node, error) {
	if id == "" {
		return rds.Node{}, nil
	}
	node, err := parseNodeID(id)
	if err != nil {
		return rds.Node{}, fault.Wrap("unpublish", err)
	}
	return rds.Node{ID: node.String(), HostNQN: node.HostNQN()}, nil
}

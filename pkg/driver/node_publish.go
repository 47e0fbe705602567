package driver

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
)

func (n *node) NodePublishVolume(ctx context.Context, req *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	if err := checkPublishRequest(req); err != nil {
		return nil, err
	}
	r, err := n.record(req.GetVolumeId())
	if err != nil {
		return nil, err
	}
	repeat, err := n.publish(ctx, r, req)
	if err != nil {
		err = n.finalOnlyIfUnmounted(req.GetTargetPath(), err)
		return nil, fault.Wrap("publish volume "+r.VolumeID+" at "+req.GetTargetPath(), err)
	}
	if repeat {
		noop(ctx)
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

func (n *node) publish(ctx context.Context, r *stage.Record, req *csi.NodePublishVolumeRequest) (repeat bool, err error) {
	p, err := newPublication(n, r, req)
	if err != nil {
		return false, err
	}
	return p.run(ctx)
}

// finalOnlyIfUnmounted: kubelet takes a target for unmounted after a final error, and never
// unpublishes it (design.md §6 rule 11). What the CSI table of second calls demands stays.
func (n *node) finalOnlyIfUnmounted(target string, err error) error {
	if fault.KindOf(err) == fault.Conflict {
		return err
	}
	if _, mounted, lookErr := n.cfg.Mounter.At(target); mounted || lookErr != nil {
		return notFinal(err)
	}
	return err
}

func checkPublishRequest(req *csi.NodePublishVolumeRequest) error {
	if req.GetVolumeId() == "" {
		return invalid("volume_id", "is missing")
	}
	if err := checkPath("target_path", req.GetTargetPath()); err != nil {
		return err
	}
	if err := checkPath("staging_target_path", req.GetStagingTargetPath()); err != nil {
		return err
	}
	return checkCapability(req.GetVolumeCapability())
}

// publication is one NodePublishVolume under way.
type publication struct {
	node       *node
	record     *stage.Record
	target     stage.Target
	capability *csi.VolumeCapability
}

func newPublication(n *node, r *stage.Record, req *csi.NodePublishVolumeRequest) (*publication, error) {
	capability := req.GetVolumeCapability()
	switch {
	case r.StagingPath != req.GetStagingTargetPath():
		return nil, fault.Errorf("staging_target_path", fault.Precondition, "volume %s is staged at %s, not at %s", r.VolumeID, r.StagingPath, req.GetStagingTargetPath())
	case r.Block != (capability.GetBlock() != nil):
		return nil, fault.Errorf("volume_capability", fault.Precondition, "volume %s is staged the other way (raw block: %t)", r.VolumeID, r.Block)
	}
	readOnly := req.GetReadonly() || r.ReadOnly || capability.GetAccessMode().GetMode() == csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY
	asked, err := fingerprint(capability, readOnly)
	if err != nil {
		return nil, err
	}
	return &publication{
		node: n, record: r, capability: capability,
		target: stage.Target{Path: req.GetTargetPath(), ReadOnly: readOnly, Asked: asked, Pod: podOf(req)},
	}, nil
}

func (p *publication) run(ctx context.Context) (repeat bool, err error) {
	if err := p.node.healFirst(ctx, p.record, p.target.Path); err != nil {
		return false, err
	}
	if err := p.allowed(); err != nil {
		return false, err
	}
	dev, err := p.node.device(ctx, p.record)
	if err != nil {
		return false, err
	}
	if !p.record.Block {
		if err := p.stagedFrom(dev); err != nil {
			return false, err
		}
	}
	p.record.SetTarget(p.target)
	p.record.Former = p.node.heldBy(p.record, p.node.now(ctx))
	if err := p.node.save(p.record); err != nil {
		return false, err
	}
	return p.node.cfg.Mounter.Bind(ctx, p.bind(dev))
}

func (p *publication) bind(dev nvme.Device) mount.BindRequest {
	source := p.record.StagingPath
	if p.record.Block {
		source = dev.Path
	}
	return mount.BindRequest{
		Source: source, Target: p.target.Path, Num: dev.Num, Block: p.record.Block, ReadOnly: p.target.ReadOnly,
		Live: func(ctx context.Context) error { return p.node.alive(ctx, p.record, dev, 0) },
	}
}

// allowed applies the table of second calls (CSI spec, NodePublishVolume). Targets that are
// recorded but not mounted any more (a reboot) do not count.
func (p *publication) allowed() error {
	for _, t := range p.record.Targets {
		_, mounted, err := p.node.cfg.Mounter.At(t.Path)
		if err != nil {
			return err
		}
		switch {
		case !mounted:
		case t.Path == p.target.Path && t.Asked != p.target.Asked:
			return fault.Errorf("", fault.Conflict, "it is published there with other arguments")
		case t.Path != p.target.Path && !manyTargets(p.capability):
			return fault.Errorf("", fault.Precondition, "access mode %s allows one target, and it is published at %s", p.capability.GetAccessMode().GetMode(), t.Path)
		}
	}
	return nil
}

// stagedFrom makes sure that what is mounted at the staging path is the device that is connected now.
func (p *publication) stagedFrom(dev nvme.Device) error {
	at, mounted, err := p.node.cfg.Mounter.At(p.record.StagingPath)
	switch {
	case err != nil:
		return err
	case !mounted:
		return fault.Errorf("", fault.Precondition, "nothing is mounted at the staging path %s; it must be staged again", p.record.StagingPath)
	case at.Dev != dev.Num:
		return fault.Errorf("", fault.StaleMount, "the staging path %s is mounted from device %s, but the volume is now device %s; unstage and stage it again", p.record.StagingPath, at.Dev, dev.Num)
	default:
		return nil
	}
}

func (n *node) NodeUnpublishVolume(ctx context.Context, req *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, invalid("volume_id", "is missing")
	}
	if err := checkPath("target_path", req.GetTargetPath()); err != nil {
		return nil, err
	}
	r, err := n.record(req.GetVolumeId())
	if err != nil && !isNotFound(err) {
		return nil, err
	}
	id, _ := n.driver.parseVolumeID(req.GetVolumeId()) // no volume's id names no record
	repeat, err := n.cfg.Mounter.Unmount(ctx, req.GetTargetPath(), n.oursAt(id.String(), r))
	if err != nil {
		return nil, fault.Wrap("unpublish volume "+req.GetVolumeId(), err)
	}
	if r != nil {
		if _, known := r.Target(req.GetTargetPath()); known {
			r.DropTarget(req.GetTargetPath())
			r.Former = n.heldBy(r, n.now(ctx))
			err = n.save(r)
		}
	}
	if repeat {
		noop(ctx)
	}
	return &csi.NodeUnpublishVolumeResponse{}, err
}

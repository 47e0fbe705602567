package driver

import (
	"context"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

func (n *node) NodeUnstageVolume(ctx context.Context, req *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	id, err := n.driver.parseVolumeID(req.GetVolumeId())
	if err != nil && !isNotFound(err) {
		return nil, err
	}
	if err := checkPath("staging_target_path", req.GetStagingTargetPath()); err != nil {
		return nil, err
	}
	if isNotFound(err) {
		noop(ctx)
		return &csi.NodeUnstageVolumeResponse{}, nil
	}
	changed, err := n.unstage(ctx, id, req.GetStagingTargetPath())
	if err != nil {
		return nil, fault.Wrap("unstage volume "+id.String(), err)
	}
	if !changed {
		noop(ctx)
	}
	return &csi.NodeUnstageVolumeResponse{}, nil
}

func (n *node) unstage(ctx context.Context, id volumeID, path string) (changed bool, err error) {
	r, found, err := n.load(id.String())
	if err != nil {
		return false, err
	}
	if !found {
		return n.unstageUnrecorded(ctx, id, path)
	}
	if err := n.takeDown(ctx, r, telemetry.DisconnectUnstage); err != nil {
		return false, err
	}
	if r.StagingPath != path {
		if _, err := n.cfg.Mounter.Unmount(ctx, path, n.ours(r)); err != nil {
			return false, err
		}
	}
	n.stale.end(r.VolumeID)
	return true, fault.E("", fault.Internal, n.cfg.Records.Delete(id.String()))
}

// takeDown leaves nothing of a recorded attachment on the node, or changes nothing that is in use.
func (n *node) takeDown(ctx context.Context, r *stage.Record, reason telemetry.DisconnectReason) error {
	if err := n.unpublished(r); err != nil {
		return err
	}
	conn := n.connectorOf(r)
	dev, err := conn.Find(ctx, r.NQN, r.HostNQN)
	switch {
	case err == nil:
		err = n.unusedBeside(dev.Num, r)
	case isNotFound(err), fault.ReasonOf(err) == fault.NVMeControllerLost:
		err = nil // no device, so nothing new can be mounted from it; Disconnect looks again
	}
	if err != nil {
		return err
	}
	interrupted := r.Format == stage.Formatting && r.StagedAt.IsZero()
	if err := n.unstaging(r); err != nil {
		return err
	}
	if interrupted {
		if err := n.wipe(ctx, r, dev); err != nil {
			return err
		}
	}
	if !r.Block {
		if _, err := n.cfg.Mounter.Unmount(ctx, r.StagingPath, n.ours(r)); err != nil {
			return err
		}
	}
	return conn.Disconnect(ctx, r.NQN, r.HostNQN, reason)
}

// unstaging notes that the volume is not staged any more, so that what is taken down from here on is not
// taken for lost and healed.
func (n *node) unstaging(r *stage.Record) error {
	if r.StagedAt.IsZero() && r.Recovery == nil {
		return nil
	}
	r.StagedAt, r.Recovery = time.Time{}, nil
	return n.save(r)
}

// wipe clears what an interrupted mkfs of this node has left, so that another node finds the volume
// blank. A device that is away is connected once more; while it cannot be, the record stays.
func (n *node) wipe(ctx context.Context, r *stage.Record, dev nvme.Device) error {
	if dev.Num.IsZero() {
		a, err := n.attachmentIn(r)
		if err == nil {
			dev, err = n.connectorOf(r).Connect(ctx, a.target)
		}
		if err != nil {
			return fault.Errorf("", fault.Unavailable, "its mkfs was interrupted, and it cannot be reached to be wiped: %w", err)
		}
	}
	live := func(ctx context.Context) error { return n.alive(ctx, r, dev, 0) }
	return n.cfg.Mounter.WipeInterrupted(ctx, dev.Path, dev.Num, live)
}

// unusedBeside is nil if the device is mounted nowhere but at the staging path.
func (n *node) unusedBeside(num host.DevNum, r *stage.Record) error {
	mounts, err := n.cfg.Mounter.MountsOf(num)
	if err != nil {
		return err
	}
	staging, err := n.cfg.Mounter.Canonical(r.StagingPath)
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if m.Path != staging {
			return fault.Errorf("", fault.MountBusy, "it is still mounted at %s; unpublish it there first", m.Path)
		}
	}
	return nil
}

// unpublished is nil if no target of the volume is mounted any more. That holds without a device
// too: its controller may be away, and come back.
func (n *node) unpublished(r *stage.Record) error {
	for _, t := range r.Targets {
		_, mounted, err := n.cfg.Mounter.At(t.Path)
		if err != nil {
			return err
		}
		if mounted {
			return fault.Errorf("", fault.MountBusy, "it is still published at %s; unpublish it there first", t.Path)
		}
	}
	return nil
}

// unstageUnrecorded looks for what a volume without a record may have left: the staging mount, and
// controllers under exactly this volume's NQN and our host NQN.
func (n *node) unstageUnrecorded(ctx context.Context, id volumeID, path string) (changed bool, err error) {
	unmounted, err := n.cfg.Mounter.Unmount(ctx, path, n.oursAt(id.String(), nil))
	if err != nil {
		return false, err
	}
	changed = !unmounted
	for _, conn := range n.connectors() {
		attached, err := conn.Attached(n.cfg.ID.HostNQN())
		if err != nil {
			return changed, err
		}
		for _, nqn := range attached {
			if !rds.MatchesSlot(nqn, id.Slot) {
				continue
			}
			if err := conn.Disconnect(ctx, nqn, n.cfg.ID.HostNQN(), telemetry.DisconnectUnstage); err != nil {
				return changed, err
			}
			changed = true
		}
	}
	return changed, nil
}

func (n *node) connectors() []Transport {
	if n.cfg.Dev != nil {
		return []Transport{n.cfg.NVMe, n.cfg.Dev}
	}
	return []Transport{n.cfg.NVMe}
}

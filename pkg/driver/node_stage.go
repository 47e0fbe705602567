package driver

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

func (n *node) NodeStageVolume(ctx context.Context, req *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	id, err := n.driver.parseVolumeID(req.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if err := checkPath("staging_target_path", req.GetStagingTargetPath()); err != nil {
		return nil, err
	}
	if err := checkCapability(req.GetVolumeCapability()); err != nil {
		return nil, err
	}
	a, err := n.attachmentOf(id, req.GetPublishContext())
	if err != nil {
		return nil, err
	}
	telemetry.Link(ctx, a.traceParent)
	wanted, err := wantedRecord(id.String(), req, a)
	if err != nil {
		return nil, err
	}
	wanted.BootID, wanted.TraceParent = n.cfg.BootID, telemetry.TraceParent(ctx)
	s := &staging{node: n, conn: n.connector(a.simulated), attachment: a, record: wanted, blank: req.GetVolumeContext()[keyBlank] == yes}
	repeat, err := s.run(ctx)
	if err != nil {
		return nil, fault.Wrap("stage volume "+id.String(), err)
	}
	if repeat {
		noop(ctx)
	}
	return &csi.NodeStageVolumeResponse{}, nil
}

// wantedRecord is what the node will remember if the call succeeds.
func wantedRecord(id string, req *csi.NodeStageVolumeRequest, a attachment) (*stage.Record, error) {
	capability := req.GetVolumeCapability()
	// The name of the access mode makes no difference to how a volume is staged, and COs have renamed it.
	print, err := fingerprint(&csi.VolumeCapability{AccessType: capability.GetAccessType()}, false)
	if err != nil {
		return nil, err
	}
	r := &stage.Record{
		VolumeID: id, NQN: a.target.NQN, HostNQN: a.target.HostNQN, Context: a.context,
		StagingPath: req.GetStagingTargetPath(), Capability: print, Block: capability.GetBlock() != nil,
	}
	if !r.Block {
		r.FSType = fsTypeOf(capability)
		r.MountFlags = capability.GetMount().GetMountFlags()
		r.ReadOnly = slices.Contains(r.MountFlags, "ro")
	}
	return r, nil
}

// staging is one NodeStageVolume under way.
type staging struct {
	node       *node
	conn       Transport
	attachment attachment
	record     *stage.Record
	blank      bool        // the volume was created empty
	known      bool        // an earlier call left a record of this very attachment
	mounted    bool        // this call mounted the staging path
	full       bool        // this call found that the file system fills the device
	unsaved    bool        // the record knows the device, but not yet on the disk
	held       atomic.Bool // this call holds the device open
}

// run stages the volume. repeat tells that it was staged already. After a final error nothing
// of the volume is left; where that cannot be had the error is Unavailable (design.md §6 rule 11).
func (s *staging) run(ctx context.Context) (repeat bool, err error) {
	if err := s.meet(ctx); err != nil {
		return false, err
	}
	if err := s.save(); err != nil {
		return false, s.unlessKnown(err)
	}
	if err := s.node.healFirst(ctx, s.record, ""); err != nil {
		return false, notFinal(err)
	}
	dev, err := s.connect(ctx)
	if err != nil {
		return false, s.abandon(ctx, err)
	}
	staged := !s.record.StagedAt.IsZero() && dev.Adopted
	repeat, err = s.use(ctx, dev)
	if err != nil {
		return false, s.rollback(ctx, err)
	}
	s.record.StagedAt = time.Now().UTC()
	if err := s.save(); err != nil {
		return false, s.rollback(ctx, err)
	}
	return repeat && staged, nil
}

// meet compares what is asked with what an earlier call has left.
func (s *staging) meet(ctx context.Context) error {
	old, found, err := s.node.load(s.record.VolumeID)
	if err != nil {
		return err
	}
	if !found {
		return nil
	}
	if old.NQN != s.record.NQN || old.HostNQN != s.record.HostNQN {
		return s.node.leaveOld(ctx, old, s.record.NQN)
	}
	if old.StagingPath != s.record.StagingPath || old.Capability != s.record.Capability {
		if err := s.node.stillUsed(old); err != nil {
			return err
		}
	}
	s.known = true
	s.record.Format, s.record.FormatFS = old.Format, old.FormatFS
	s.record.Targets, s.record.StagedAt, s.record.Attachment = old.Targets, old.StagedAt, old.Attachment
	if old.BootID == s.record.BootID {
		s.record.Device, s.record.DevNum, s.record.Former, s.record.Recovery = old.Device, old.DevNum, old.Former, old.Recovery
	} else {
		s.record.StagedAt = time.Time{} // that went with its boot
	}
	return nil
}

// stillUsed refuses to stage a volume in another way, or at another path, while it is in use as it is.
func (n *node) stillUsed(old *stage.Record) error {
	for _, path := range old.Paths() {
		_, mounted, err := n.cfg.Mounter.At(path)
		if err != nil {
			return err
		}
		if mounted {
			return fault.Errorf("", fault.Conflict, "it is staged in another way, and mounted at %s; unstage it first", path)
		}
	}
	return nil
}

// leaveOld takes down what is left of an earlier attachment. That the controller publishes the volume to
// this node under another NQN proves that the old one was revoked: it is gone from the array for ever, and
// another node may have written since (design.md §6 rule 7). An interrupted mkfs is not wiped, for the
// same reason. Another host NQN proves nothing of the kind.
func (n *node) leaveOld(ctx context.Context, old *stage.Record, nqn string) (err error) {
	if old.NQN != nqn {
		err = n.release(ctx, old, anotherNQN)
	} else {
		unwiped := *old
		unwiped.Format = stage.FormatNone
		err = n.takeDown(ctx, &unwiped, telemetry.DisconnectUnstage)
	}
	if err != nil {
		return fault.Errorf("", fault.Unavailable, "what this node had attached before (as %s) could not be taken down: %w", old.NQN, err)
	}
	return nil
}

func (s *staging) connect(ctx context.Context) (nvme.Device, error) {
	dev, err := s.conn.Connect(ctx, s.attachment.target)
	if err != nil {
		return nvme.Device{}, err
	}
	if dev.Size < s.attachment.size && dev.Adopted { // grown on the array while connected: the kernel has not seen it yet
		if dev, err = s.conn.Rescan(ctx, s.record.NQN, s.record.HostNQN, s.attachment.size); err != nil {
			return dev, s.tooSmall(ctx, err)
		}
	}
	if dev.Size < s.attachment.size {
		return dev, s.smaller(dev)
	}
	noteDevice(s.record, dev)
	s.unsaved = true
	return dev, nil
}

// save has the record on the disk when it returns.
func (s *staging) save() error {
	if err := s.node.save(s.record); err != nil {
		return err
	}
	s.unsaved = false
	return nil
}

// tooSmall tells a device that is smaller than the array has promised from one that could not be asked
// in time: waiting longer makes only the second one well.
func (s *staging) tooSmall(ctx context.Context, cause error) error {
	dev, err := s.conn.Find(ctx, s.record.NQN, s.record.HostNQN)
	if err != nil || dev.Size >= s.attachment.size || ctx.Err() != nil {
		return cause
	}
	return fmt.Errorf("%w (%w)", s.smaller(dev), cause)
}

func (s *staging) smaller(dev nvme.Device) error {
	return fault.Errorf("", fault.Precondition, "%s has %d bytes, and the array promised %d; nothing was changed. See on the array whether the volume's "+
		"file was cut short or replaced", dev.Path, dev.Size, s.attachment.size)
}

// abandon forgets a stage of which nothing was done. Connect has taken down what it made itself.
func (s *staging) abandon(ctx context.Context, cause error) error {
	if s.known || ctx.Err() != nil || fault.KindOf(cause) == fault.Unavailable {
		return notFinal(cause)
	}
	return s.rollback(ctx, cause)
}

// unlessKnown lets an error be final if no earlier call has left anything of the volume.
func (s *staging) unlessKnown(cause error) error {
	if s.known {
		return notFinal(cause)
	}
	return cause
}

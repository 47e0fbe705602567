package driver

import (
	"context"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// use makes the connected device ready to be published. repeat tells that it was already.
func (s *staging) use(ctx context.Context, dev nvme.Device) (repeat bool, err error) {
	mounts, err := s.node.cfg.Mounter.Picture()
	if err != nil {
		return false, err
	}
	inUse := mounts.Shows(dev.Num)
	if s.record.Format == stage.Formatting && (s.record.Block || inUse) {
		return false, fault.Errorf("", fault.Precondition, "its mkfs on this node was interrupted, and it is now raw or mounted: unstage it first, which wipes what mkfs left")
	}
	if s.record.Block {
		return true, nil
	}
	at, mounted, err := mounts.At(s.record.StagingPath)
	if err != nil {
		return false, err
	}
	if mounted && at.Device() != dev.Num {
		return false, fault.Errorf("", fault.StaleMount, "%s is mounted from device %s, and the volume is device %s (%s) now; "+
			"nothing was done to either", s.record.StagingPath, at.Device(), dev.Num, dev.Path)
	}
	if inUse { // a mounted device is never probed, checked or formatted
		return s.mount(ctx, dev)
	}
	held, err := s.node.cfg.Mounter.Hold(ctx, dev.Path, dev.Num)
	if err != nil {
		return false, err
	}
	s.held.Store(true)
	defer func() {
		s.held.Store(false) // a mount that is still under way asks for all again
		_ = held.Close()    // nothing was written through it
	}()
	if err := s.prepare(ctx, dev); err != nil {
		return false, err
	}
	return s.mount(ctx, dev)
}

func (s *staging) mount(ctx context.Context, dev nvme.Device) (repeat bool, err error) {
	mounter := s.node.cfg.Mounter
	if s.unsaved { // a mount is told to be ours by the device in the record
		if err := s.save(); err != nil {
			return false, err
		}
	}
	repeat, err = mounter.Mount(ctx, mount.MountRequest{
		Device: dev.Path, Num: dev.Num, Target: s.record.StagingPath,
		FSType: s.record.FSType, Options: s.record.MountFlags, ReadOnly: s.record.ReadOnly, Live: s.live(dev),
	})
	if err != nil {
		return false, err
	}
	s.mounted = !repeat
	if s.record.ReadOnly || s.full {
		return repeat, nil
	}
	filled, err := mounter.Grow(ctx, s.growth(dev, s.record.StagingPath))
	return repeat && filled, err
}

func (s *staging) growth(dev nvme.Device, mountpoint string) mount.GrowRequest {
	return mount.GrowRequest{Device: dev.Path, Num: dev.Num, Mountpoint: mountpoint, FSType: s.record.FSType, Live: s.live(dev)}
}

// live asks again whether the device is still the one that was connected: the kernel gives names
// and numbers of devices that went away to others.
//
// While this call holds the device, it is enough to look where it was.
func (s *staging) live(dev nvme.Device) mount.Alive {
	return func(ctx context.Context) error {
		if s.held.Load() {
			return s.conn.Still(ctx, s.record.NQN, s.record.HostNQN, dev)
		}
		return s.node.alive(ctx, s.record, dev, s.attachment.size)
	}
}

func (s *staging) prepare(ctx context.Context, dev nvme.Device) error {
	found, err := s.node.cfg.Mounter.EnsureFormatted(ctx, mount.FormatRequest{
		Device: dev.Path, Num: dev.Num, Size: s.attachment.size, FSType: s.record.FSType,
		Blank: s.blank, ReadOnly: s.record.ReadOnly,
		Live:    s.live(dev),
		Journal: &formatJournal{staging: s},
	})
	s.full = found.Full
	s.node.tellRefused(ctx, s.record, err)
	if err != nil || found.Formatted {
		return err
	}
	s.record.Format, s.record.FormatFS = stage.Formatted, s.record.FSType
	if s.record.ReadOnly {
		return nil
	}
	if !found.Clean {
		if err := s.node.cfg.Mounter.Check(ctx, dev.Path, dev.Num, s.record.FSType, s.live(dev)); err != nil {
			return err
		}
	}
	if found.Full {
		return nil
	}
	// What cannot grow mounted does so now: ext4 needs CAP_SYS_RESOURCE for that.
	_, err = s.node.cfg.Mounter.Grow(ctx, s.growth(dev, ""))
	return err
}

// alive is nil while the record's volume is still the device that was found, of that size at least, and
// its controller lives.
func (n *node) alive(ctx context.Context, r *stage.Record, dev nvme.Device, size uint64) error {
	now, err := n.device(ctx, r)
	if err != nil {
		return err
	}
	if now.Num != dev.Num || now.Size < size {
		return fault.Errorf("", fault.NVMeControllerLost, "the device changed under way: %s with %d bytes is now %s with %d", dev.Num, dev.Size, now.Num, now.Size)
	}
	return nil
}

// formatJournal keeps in the stage record how far mkfs has come.
type formatJournal struct {
	*staging
}

func (j *formatJournal) Formatting() bool { return j.record.Format == stage.Formatting }

func (j *formatJournal) Formatted() bool { return j.record.Format == stage.Formatted }

func (j *formatJournal) Begin(fsType string) error {
	j.record.Format, j.record.FormatFS = stage.Formatting, fsType
	return j.save()
}

func (j *formatJournal) Done() error {
	j.record.Format = stage.Formatted
	return j.save()
}

// rollback takes back what a failed stage has done. After the end of the call's time nothing more
// is done: the record stays, and the next call goes on from there.
func (s *staging) rollback(ctx context.Context, cause error) (err error) {
	if ctx.Err() != nil || s.record.Format == stage.Formatting {
		return notFinal(cause)
	}
	ctx, span := telemetry.Start(ctx, "rollback", telemetry.Internal)
	defer func() { span.End(err) }()
	if s.known && !s.mounted {
		return notFinal(cause) // an earlier call's work is still there, and not ours to undo
	}
	if s.mounted {
		if _, err := s.node.cfg.Mounter.Unmount(ctx, s.record.StagingPath, s.node.ours(s.record)); err != nil {
			return fault.Errorf("", fault.Unavailable, "%w (and the staging mount could not be taken down: %w)", cause, err)
		}
	}
	if s.known {
		return notFinal(cause)
	}
	if err := s.conn.Disconnect(ctx, s.record.NQN, s.record.HostNQN, telemetry.DisconnectRollback); err != nil {
		return fault.Errorf("", fault.Unavailable, "%w (and the volume could not be disconnected: %w)", cause, err)
	}
	if err := s.node.cfg.Records.Delete(s.record.VolumeID); err != nil {
		return fault.Errorf("", fault.Unavailable, "%w (and %w)", cause, err)
	}
	return cause
}

// notFinal keeps kubelet from taking the volume for gone from the node: it never unstages after a
// final error (design.md §6 rule 11).
func notFinal(cause error) error {
	switch fault.KindOf(cause) {
	case fault.Timeout, fault.Canceled, fault.InFlight, fault.Unavailable, fault.UnknownOutcome:
		return cause
	default:
		return fault.Reclassify(cause, fault.Unavailable)
	}
}

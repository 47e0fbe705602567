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
	if s.record.Block {
		return true, nil
	}
	mounter := s.node.cfg.Mounter
	mounts, err := mounter.MountsOf(dev.Num)
	if err != nil {
		return false, err
	}
	if len(mounts) == 0 { // a mounted device is never probed, checked or formatted
		if err := s.prepare(ctx, dev); err != nil {
			return false, err
		}
	}
	repeat, err = mounter.Mount(ctx, mount.MountRequest{
		Device: dev.Path, Num: dev.Num, Target: s.record.StagingPath,
		FSType: s.record.FSType, Options: s.record.MountFlags, ReadOnly: s.record.ReadOnly,
	})
	if err != nil {
		return false, err
	}
	s.mounted = !repeat
	if s.record.ReadOnly {
		return repeat, nil
	}
	filled, err := mounter.Grow(ctx, dev.Path, s.record.StagingPath, s.record.FSType)
	return repeat && filled, err
}

func (s *staging) prepare(ctx context.Context, dev nvme.Device) error {
	formatted, err := s.node.cfg.Mounter.EnsureFormatted(ctx, mount.FormatRequest{
		Device: dev.Path, Num: dev.Num, Size: s.attachment.size, FSType: s.record.FSType,
		Blank: s.blank, ReadOnly: s.record.ReadOnly,
		Live:    func(ctx context.Context) error { return s.alive(ctx, dev) },
		Journal: &formatJournal{node: s.node, record: s.record},
	})
	if err != nil || formatted || s.record.ReadOnly {
		return err
	}
	if err := s.node.cfg.Mounter.Check(ctx, dev.Path, s.record.FSType); err != nil {
		return err
	}
	// What can grow unmounted does so now: mounted, ext4 grows only with CAP_SYS_RESOURCE.
	_, err = s.node.cfg.Mounter.Grow(ctx, dev.Path, "", s.record.FSType)
	return err
}

// alive is nil while the device is still the one that was connected, and its controller lives.
func (s *staging) alive(ctx context.Context, dev nvme.Device) error {
	now, err := s.node.device(ctx, s.record)
	if err != nil {
		return err
	}
	if now.Num != dev.Num || now.Size < s.attachment.size {
		return fault.Errorf("", fault.NVMeControllerLost, "the device changed under way: %s with %d bytes is now %s with %d", dev.Num, dev.Size, now.Num, now.Size)
	}
	return nil
}

// formatJournal keeps in the stage record how far mkfs has come.
type formatJournal struct {
	node   *node
	record *stage.Record
}

func (j *formatJournal) Formatting() bool { return j.record.Format == stage.Formatting }

func (j *formatJournal) Begin(fsType string) error {
	j.record.Format, j.record.FormatFS = stage.Formatting, fsType
	return j.node.save(j.record)
}

func (j *formatJournal) Done() error {
	j.record.Format = stage.Formatted
	return j.node.save(j.record)
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
		if _, err := s.node.cfg.Mounter.Unmount(ctx, s.record.StagingPath); err != nil {
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

package rds

import (
	"context"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// Delete removes the volume: item, file, directory or subvolume. existed is false where nothing was
// there. A volume that is exported, or that bears no mark of ours, is left alone: Busy or Precondition.
func (a *Array) Delete(ctx context.Context, slot string) (existed bool, err error) {
	op := "delete volume " + slot
	if !OwnSlot(slot) {
		return a.refuseForeign(ctx, slot)
	}
	reply, err := a.run(ctx, telemetry.CommandDiskRemove, removeScript(slot, a.mark))
	if err != nil {
		return false, fault.Wrap(op, err)
	}
	switch v, err := theVolume(reply, slot); {
	case err == nil && v.Exported:
		return true, fault.Errorf(op, fault.Busy, "it is published to %s; unpublish it first", v.describeHolders())
	case err == nil:
		return true, fault.Errorf(op, fault.Unavailable, "the array took the command but still shows the disk")
	case fault.KindOf(err) != fault.NotFound:
		return true, fault.Wrap(op, err)
	}
	files, err := reply.Int("files")
	if err != nil {
		return true, fault.E(op, fault.UnknownOutcome, err)
	}
	if files != 0 {
		return true, fault.Errorf(op, fault.Unavailable, "the disk is gone, but %d files of it are still there", files)
	}
	_, existed = reply.Value("cut")
	return existed, nil
}

// refuseForeign: a slot that the driver cannot have given is somebody else's, if it is there at all.
func (a *Array) refuseForeign(ctx context.Context, slot string) (bool, error) {
	_, err := a.Get(ctx, slot)
	if fault.KindOf(err) == fault.NotFound {
		return false, nil
	}
	if err == nil {
		err = explain(fault.Errorf("", fault.Precondition, errNotOurs))
	}
	return true, fault.Wrap("delete volume "+slot, err)
}

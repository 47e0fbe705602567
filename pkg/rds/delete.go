package rds

import (
	"context"
	"slices"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// Delete removes the volume: item, file, directory or subvolume. existed is false where nothing was
// there. A volume that is exported or held, or that bears no mark of ours, is left alone: Busy or
// Precondition.
func (a *Array) Delete(ctx context.Context, slot string) (existed bool, err error) {
	op := "delete volume " + slot
	if !OwnSlot(slot) {
		return a.refuseForeign(ctx, slot)
	}
	reply, err := a.change(ctx, telemetry.CommandDiskRemove, slot, removeScript(slot, a.mark))
	if err != nil {
		return false, fault.Wrap(op, err)
	}
	_, existed = reply.Value("cut")
	switch v, err := theVolume(reply, slot); {
	case err == nil && (v.Exported || len(v.Record.Holders) > 0):
		return true, fault.Errorf(op, fault.Busy, "it is published to %s; unpublish it first", v.describeHolders())
	case err == nil:
		return true, fault.Errorf(op, fault.Unavailable, "the array took the command but still shows the disk")
	case fault.KindOf(err) != fault.NotFound:
		return true, fault.Wrap(op, err)
	}
	left, err := leftovers(reply, slot)
	for _, file := range left {
		if err := a.removeLeftover(ctx, slot, file); err != nil {
			return true, fault.Wrap(op, err)
		}
	}
	return existed || len(left) > 0, fault.Wrap(op, err)
}

// leftovers are the files of a slot that stand where the driver puts them: right below a mount point.
func leftovers(reply *routeros.Reply, slot string) ([]string, error) {
	files, err := reply.Rows("file")
	if err != nil {
		return nil, err
	}
	mounts, err := reply.Rows("mount")
	if err != nil {
		return nil, err
	}
	var own []string
	for _, m := range mounts {
		own = append(own, strings.Trim(m.String("mount-point"), "/")+fileOf(slot))
	}
	var found []string
	for _, f := range files {
		if name := strings.TrimPrefix(f.String("name"), "/"); slices.Contains(own, name) {
			found = append(found, name)
		}
	}
	return found, nil
}

func (a *Array) removeLeftover(ctx context.Context, slot, file string) error {
	reply, err := a.change(ctx, telemetry.CommandDiskRemove, slot, leftoverScript(slot, file))
	if err != nil {
		return err
	}
	if files, err := reply.Int("files"); err != nil || files != 0 {
		return fault.Errorf("", fault.Unavailable, "the disk is gone, but its file %s is still there", file)
	}
	return nil
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

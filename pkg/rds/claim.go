package rds

import (
	"context"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// claim makes a volume that is not there, or brings the claim that an earlier call has left to its end.
func (a *Array) claim(ctx context.Context, slot string, size uint64, req CreateRequest, prepared *routeros.Reply, poolName string) (Volume, error) {
	pool, err := poolOf(prepared, poolName)
	if err != nil {
		return Volume{}, err
	}
	script := claimScript{
		addScript: addScript{slot: slot, pool: poolName, size: size, comment: describe(a.cluster, req.Origin) + separator + newState()},
		most:      pool.most(), reserve: pool.reserve(),
	}
	if pool.FS == "btrfs" {
		script.btrfsLabel = pool.Label
	}
	if found, err := theVolume(prepared, slot); err == nil {
		if err := a.sameAs(found, req.Size, poolName); err != nil {
			return Volume{}, err
		}
		script.comment = found.Comment
	} else if err := pool.roomFor(size); err != nil {
		return Volume{}, err
	}
	reply, err := a.change(ctx, telemetry.CommandDiskAdd, slot, script.body)
	made := madeBy(reply)
	if err != nil {
		return Volume{}, a.undo(ctx, script.addScript, made, pool.explain(err, size))
	}
	v, err := theVolume(reply, slot)
	if err != nil {
		return Volume{}, fault.Errorf("", fault.Unavailable, "the array took the command but does not show the disk: %w", err)
	}
	script.comment = v.Comment
	if err := a.sameAs(v, Size{Required: size, Limit: req.Size.Limit}, poolName); err != nil {
		return Volume{}, a.undo(ctx, script.addScript, made, err)
	}
	if !v.Record.New {
		return v, nil
	}
	return a.decide(ctx, script, reply)
}

// decide ends a claim of which the array has not found out by itself whether there is room for it.
func (a *Array) decide(ctx context.Context, script claimScript, reply *routeros.Reply) (Volume, error) {
	pool, err := poolOf(reply, script.pool)
	if err != nil {
		return Volume{}, fault.Errorf("", fault.Unavailable, "the disk is added, but whether there is room for it is not known: %w", err)
	}
	if err := pool.kept(script.size); err != nil {
		return Volume{}, a.undo(ctx, script.addScript, made{dir: true, disk: true}, err)
	}
	reply, err = a.change(ctx, telemetry.CommandDiskAdd, script.slot, script.grantScript)
	if err != nil {
		return Volume{}, err
	}
	switch v, err := theVolume(reply, script.slot); {
	case err != nil:
		return Volume{}, fault.Errorf("", fault.Unavailable, "another controller has taken it back at the same moment; try again: %w", err)
	case v.Record.New:
		return Volume{}, fault.Errorf("", fault.Unavailable, "another controller is making it at the same moment; try again")
	default:
		return v, nil
	}
}

// made is how far an exec has come.
type made struct{ dir, disk bool }

func madeBy(reply *routeros.Reply) (m made) {
	if reply != nil {
		_, m.dir = reply.Value("made")
		_, m.disk = reply.Value("added")
	}
	return m
}

// undo takes back what was made, and nothing else: the disk in the slot may be another controller's, and
// what stands in the directory an administrator's.
func (a *Array) undo(ctx context.Context, script addScript, made made, cause error) error {
	if !made.dir || fault.KindOf(cause) == fault.UnknownOutcome {
		return cause
	}
	undone, err := a.change(ctx, telemetry.CommandDiskRemove, script.slot, script.undo(made.disk))
	if err != nil {
		return fault.Errorf("", fault.Unavailable, "%w (and what was begun could not be taken back: %w)", cause, err)
	}
	disks, disksErr := undone.Int("disks")
	files, filesErr := undone.Int("files")
	switch {
	case disksErr != nil || filesErr != nil || disks == 0 && files != 0:
		return fault.Errorf("", fault.Unavailable, "%w (and its file is still there)", cause)
	case disks != 0:
		return fault.Errorf("", fault.Unavailable, "%w: another controller has made it at the same moment; try again", cause)
	default:
		return cause
	}
}

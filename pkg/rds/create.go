package rds

import (
	"context"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// CreateRequest says which volume is wanted.
type CreateRequest struct {
	Name   string // CreateVolume's name
	Size   Size
	Pool   string // mount point, "" means the default pool
	Origin Origin
}

// Create makes the volume, or finds the one that an earlier call made. existed tells the latter.
// A conflict is explained in the error. After an error nothing of the volume is left behind, or
// the error is Unavailable or UnknownOutcome and the call must be repeated.
func (a *Array) Create(ctx context.Context, req CreateRequest) (v Volume, existed bool, err error) {
	slot := Slot(a.cluster, req.Name)
	op := "create volume " + slot
	size, err := req.Size.round()
	if err != nil {
		return Volume{}, false, fault.Wrap(op, err)
	}
	poolName, err := a.poolName(req.Pool)
	if err != nil {
		return Volume{}, false, fault.Wrap(op, err)
	}
	done, err := a.pools.take(ctx, poolName)
	if err != nil {
		return Volume{}, false, fault.Wrap(op, err)
	}
	defer done()
	reply, err := a.run(ctx, telemetry.CommandDiskPrepare, prepareScript(poolName, slot))
	if err != nil {
		return Volume{}, false, fault.Wrap(op, err)
	}
	switch v, err = theVolume(reply, slot); fault.KindOf(err) {
	case "":
		return v, true, fault.Wrap(op, a.sameAs(v, req.Size, poolName))
	case fault.NotFound:
		v, err = a.add(ctx, slot, size, req, reply, poolName)
		return v, false, fault.Wrap(op, err)
	default:
		return Volume{}, false, fault.Wrap(op, err)
	}
}

// sameAs explains why a volume that exists is not the one that is asked for.
func (a *Array) sameAs(v Volume, size Size, pool string) error {
	switch {
	case !v.Marked(a.cluster):
		return fault.Errorf("", fault.Precondition, "slot %s is taken by a disk without the mark of this driver and cluster (comment %q); remove or rename it", v.Slot, v.Comment)
	case v.Pool() != pool:
		return fault.Errorf("", fault.Conflict, "it exists in pool %q, not in %q", v.Pool(), pool)
	case !size.fits(v.Size):
		return fault.Errorf("", fault.Conflict, "it exists with %d bytes, wanted are %s", v.Size, size)
	default:
		return nil
	}
}

func (a *Array) add(ctx context.Context, slot string, size uint64, req CreateRequest, prepared *routeros.Reply, poolName string) (Volume, error) {
	pool, err := poolOf(prepared, poolName)
	if err != nil {
		return Volume{}, err
	}
	if err := pool.roomFor(size); err != nil {
		return Volume{}, err
	}
	script := addScript{slot: slot, pool: poolName, size: size, comment: describe(a.cluster, req.Origin) + separator + stateFree}
	if pool.FS == "btrfs" {
		script.btrfsLabel = pool.Label
	}
	reply, err := a.change(ctx, telemetry.CommandDiskAdd, slot, script.body)
	if err != nil {
		return Volume{}, a.undo(ctx, script, reply, pool.explain(err, size))
	}
	v, err := theVolume(reply, slot)
	if err != nil {
		return Volume{}, fault.Errorf("", fault.Unavailable, "the array took the command but does not show the disk: %w", err)
	}
	if err := a.sameAs(v, Size{Required: size, Limit: req.Size.Limit}, poolName); err != nil {
		return Volume{}, a.undo(ctx, script, reply, err)
	}
	return v, nil
}

// undo takes back what this very exec has made, and nothing else: the disk that it shows may be
// another controller's, and what stands in the directory an administrator's.
func (a *Array) undo(ctx context.Context, script addScript, reply *routeros.Reply, cause error) error {
	if reply == nil || fault.KindOf(cause) == fault.UnknownOutcome {
		return cause
	}
	if _, made := reply.Value("made"); !made {
		return cause
	}
	_, added := reply.Value("added")
	undone, err := a.change(ctx, telemetry.CommandDiskRemove, script.slot, script.undo(added))
	if err != nil {
		return fault.Errorf("", fault.Unavailable, "%w (and what was begun could not be taken back: %w)", cause, err)
	}
	disks, disksErr := undone.Int("disks")
	files, filesErr := undone.Int("files")
	switch {
	case disksErr != nil || filesErr != nil || disks == 0 && files != 0:
		return fault.Errorf("", fault.Unavailable, "%w (and its file is still there)", cause)
	case disks != 0 && !added:
		return fault.Errorf("", fault.Unavailable, "%w: another controller has made it at the same moment; try again", cause)
	default:
		return cause
	}
}

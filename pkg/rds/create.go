package rds

import (
	"context"
	"fmt"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// blockSize is what sizes are rounded up to, in bytes.
const blockSize = 4096

// Size is a wanted size: at least Required bytes, and at most Limit where Limit is not 0.
type Size struct {
	Required, Limit uint64
}

// round gives the size to ask the array for.
func (s Size) round() (uint64, error) {
	if s.Required > 1<<63-blockSize {
		return 0, fault.Errorf("", fault.OutOfRange, "%d bytes are more than any array holds", s.Required)
	}
	rounded := max((s.Required+blockSize-1)/blockSize, 1) * blockSize
	if s.Limit != 0 && s.Limit < rounded {
		return 0, fault.Errorf("", fault.OutOfRange, "at least %d bytes are wanted, which is %d in blocks of %d, but at most %d are allowed", s.Required, rounded, blockSize, s.Limit)
	}
	return rounded, nil
}

func (s Size) fits(size uint64) bool { return size >= s.Required && (s.Limit == 0 || size <= s.Limit) }

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

func (s Size) String() string {
	if s.Limit == 0 {
		return fmt.Sprintf("at least %d", s.Required)
	}
	return fmt.Sprintf("%d to %d", s.Required, s.Limit)
}

func (a *Array) add(ctx context.Context, slot string, size uint64, req CreateRequest, prepared *routeros.Reply, poolName string) (Volume, error) {
	pool, err := poolOf(prepared, poolName)
	if err != nil {
		return Volume{}, err
	}
	release, err := a.reserved.take(pool, slot, size)
	if err != nil {
		return Volume{}, err
	}
	defer release()
	script := addScript{slot: slot, pool: poolName, size: size, comment: describe(a.cluster, req.Origin) + separator + stateFree}
	if pool.FS == "btrfs" {
		script.btrfsLabel = pool.Label
	}
	reply, err := a.run(ctx, telemetry.CommandDiskAdd, script.body)
	if err != nil {
		return Volume{}, a.undo(ctx, slot, withFree(err, pool, size))
	}
	v, err := theVolume(reply, slot)
	if err != nil {
		return Volume{}, a.undo(ctx, slot, fault.Errorf("", fault.Unavailable, "the array took the command but does not show the disk: %w", err))
	}
	if err := a.sameAs(v, Size{Required: size, Limit: req.Size.Limit}, poolName); err != nil {
		return Volume{}, a.undo(ctx, slot, err)
	}
	return v, nil
}

// withFree says how much room there was, where the array only says that there is none.
func withFree(err error, pool Pool, wanted uint64) error {
	if fault.KindOf(err) != fault.NoSpace {
		return err
	}
	return fault.Errorf("", fault.NoSpace, "%d bytes wanted, %d free in pool %s: %w", wanted, pool.Free, pool.MountPoint, err)
}

// undo takes back a create that failed. What must not be touched (a leftover file, another's
// disk) and what is not known (a lost reply) is left alone.
func (a *Array) undo(ctx context.Context, slot string, cause error) error {
	switch fault.KindOf(cause) {
	case fault.UnknownOutcome, fault.Timeout, fault.Canceled, fault.Precondition, fault.Unavailable:
		return cause
	}
	if _, err := a.Delete(ctx, slot); err != nil {
		return fault.Errorf("", fault.Unavailable, "%w (and what was begun could not be taken back: %w)", cause, err)
	}
	return cause
}

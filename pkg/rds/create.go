package rds

import (
	"context"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
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
	v, err = theVolume(reply, slot)
	switch kind := fault.KindOf(err); {
	case err == nil && !(v.Record.New && v.Marked(a.cluster)):
		return v, true, fault.Wrap(op, a.sameAs(v, req.Size, poolName))
	case err == nil, kind == fault.NotFound:
		v, err = a.claim(ctx, slot, size, req, reply, poolName)
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

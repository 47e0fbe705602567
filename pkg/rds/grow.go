package rds

import (
	"context"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// Grow makes the volume at least as large as wanted. grown is false where it already was.
func (a *Array) Grow(ctx context.Context, slot string, size Size) (v Volume, grown bool, err error) {
	op := "grow volume " + slot
	rounded, err := size.round()
	if err != nil {
		return Volume{}, false, fault.Wrap(op, err)
	}
	if v, err = a.Get(ctx, slot); err != nil {
		return Volume{}, false, fault.Wrap(op, err)
	}
	switch {
	case !v.Marked(a.cluster):
		return Volume{}, false, fault.Wrap(op, explain(fault.Errorf("", fault.Precondition, errNotOurs)))
	case size.fits(v.Size):
		return v, false, nil
	case v.Size >= rounded:
		return Volume{}, false, fault.Errorf(op, fault.OutOfRange, "it has %d bytes, wanted are %s; volumes are never made smaller", v.Size, size)
	}
	v, err = a.enlarge(ctx, v, rounded)
	return v, err == nil, fault.Wrap(op, err)
}

func (a *Array) enlarge(ctx context.Context, v Volume, size uint64) (Volume, error) {
	done, err := a.pools.take(ctx, v.Pool())
	if err != nil {
		return Volume{}, err
	}
	defer done()
	pool, err := a.Pool(ctx, v.Pool())
	if err != nil {
		return Volume{}, err
	}
	if err := pool.roomFor(size - v.Size); err != nil {
		return Volume{}, err
	}
	reply, err := a.change(ctx, telemetry.CommandDiskGrow, v.Slot, growScript(v.Slot, a.mark, size))
	if err != nil {
		// Another controller may have grown it further: then the array refuses to make it smaller.
		if now, lookErr := a.Get(ctx, v.Slot); lookErr == nil && now.Size >= size {
			return now, nil
		}
		return Volume{}, pool.explain(err, size-v.Size)
	}
	after, err := theVolume(reply, v.Slot)
	if err != nil {
		return Volume{}, err
	}
	if after.Size < size {
		return Volume{}, fault.Errorf("", fault.Unavailable, "the array took the command but still shows %d bytes, wanted are %d", after.Size, size)
	}
	return after, nil
}

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
	poolName := v.Pool()
	if poolName == "" {
		return Volume{}, fault.Errorf("", fault.Precondition, "its file is %s, which is not where the driver puts files: in which pool it would grow is not known", v.Path)
	}
	done, err := a.pools.take(ctx, poolName)
	if err != nil {
		return Volume{}, err
	}
	defer done()
	g := growth{pool: poolName, slot: v.Slot, size: size, nonce: newToken()}
	pool, err := a.announce(ctx, g)
	if err != nil {
		return Volume{}, err
	}
	if err := pool.kept(size - v.Size); err != nil {
		return Volume{}, a.withdrawGrowth(ctx, g, err)
	}
	reply, err := a.change(ctx, telemetry.CommandDiskGrow, v.Slot, g.body(a.mark))
	if err != nil {
		return a.notGrown(ctx, g, pool.explain(err, size-v.Size))
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

// announce puts the growth where another controller sees it, and tells what is promised of the pool with it.
func (a *Array) announce(ctx context.Context, g growth) (Pool, error) {
	reply, err := a.run(ctx, telemetry.CommandDiskPrepare, g.announceScript)
	if err != nil {
		return Pool{}, err
	}
	pool, err := poolOf(reply, g.pool)
	if err != nil {
		return Pool{}, a.withdrawGrowth(ctx, g, err)
	}
	return pool, nil
}

// withdrawGrowth ends a growth that cannot be. An announcement that stays only keeps room
// free, until the volume grows or is deleted.
func (a *Array) withdrawGrowth(ctx context.Context, g growth, cause error) error {
	reply, err := a.run(ctx, telemetry.CommandDiskPrepare, g.withdrawScript)
	if err != nil {
		return fault.Errorf("", fault.KindOf(cause), "%w (and its announcement %s could not be taken back: %w)", cause, g.name(), err)
	}
	if files, err := reply.Int("files"); err != nil || files != 0 {
		return fault.Errorf("", fault.KindOf(cause), "%w (and its announcement %s is still there)", cause, g.name())
	}
	return cause
}

// notGrown looks again: another controller may have grown the volume further, and the array refuses to make it
// smaller. While the command may still run, the announcement stays, for the next call.
func (a *Array) notGrown(ctx context.Context, g growth, cause error) (Volume, error) {
	if now, err := a.Get(ctx, g.slot); err == nil && now.Size >= g.size {
		return now, nil
	}
	switch fault.KindOf(cause) {
	case fault.UnknownOutcome, fault.Unavailable, fault.Timeout, fault.Canceled:
		return Volume{}, cause
	default:
		return Volume{}, a.withdrawGrowth(ctx, g, cause)
	}
}

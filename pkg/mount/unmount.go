package mount

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// Unmount takes down every mount at target and then removes the empty directory or file. Not
// mounted or missing is a noop. Before each layer ours is shown the topmost mount (as At shows
// it); what is not ours stays, and everything below it. It never removes contents, never forces and never detaches: what
// is busy is reported (MountBusy), and what hangs past ctx too (Unavailable), because only a file
// system that is really unmounted has written all its data.
func (m *Mounter) Unmount(ctx context.Context, target string, ours func(host.MountPoint) bool) (noop bool, err error) {
	if ours == nil {
		return false, fault.Errorf("unmount "+target, fault.Internal, "the caller does not say which mounts are its own")
	}
	done, err := m.clear(ctx, target, ours, true)
	return err == nil && done == cleared{}, err
}

// cleared is what clear has done.
type cleared struct {
	unmounted int
	removed   bool
}

// clear unmounts every layer at target that is ours, and then removes the target or leaves it bare.
func (m *Mounter) clear(ctx context.Context, target string, ours func(host.MountPoint) bool, remove bool) (done cleared, err error) {
	op := "unmount " + target
	if target, err = m.Canonical(target); err != nil {
		return done, fault.Wrap(op, err)
	}
	start, result := time.Now(), make(chan cleared, 1)
	err = m.tableCalls.do(ctx, target, func() (err error) {
		var c cleared
		if c.unmounted, err = m.unmountLayers(ctx, target, ours); err == nil && remove {
			c.removed, err = m.removeTarget(target)
		}
		result <- c
		return err
	})
	select {
	case done = <-result:
	default: // it was not begun, or has not come back
	}
	err = unmountEnded(op, err)
	if done.unmounted > 0 || err != nil {
		m.metrics.RecordMountOp(ctx, telemetry.MountOpUnmount, err, time.Since(start))
	}
	return done, err
}

// unmountEnded says what a call that did not come back means.
func unmountEnded(op string, err error) error {
	if !errors.Is(err, errHangs) || errors.Is(err, context.Canceled) {
		return fault.Wrap(op, err)
	}
	return fault.E(op, fault.Unavailable, fmt.Errorf("umount still hangs: %w; it goes on and is not forced, since that would lose "+
		"what is not written yet; see whether the array can be reached", err))
}

func (m *Mounter) unmountLayers(ctx context.Context, target string, ours func(host.MountPoint) bool) (unmounted int, err error) {
	for {
		layers, err := m.layers(target)
		if err != nil || len(layers) == 0 {
			return unmounted, err
		}
		if err := ctx.Err(); err != nil { // the caller has gone: do no more
			return unmounted, err
		}
		if top := layers[len(layers)-1]; !ours(top) {
			return unmounted, fault.Errorf("", fault.Precondition, "another mount is there (%s of device %s, %s %s); it was left alone, unmount it by hand",
				top.Root, top.Dev, top.FSType, top.Source)
		}
		err = m.kernel.Unmount(target)
		switch {
		case err == nil:
			unmounted++
		case errors.Is(err, unix.EINVAL): // somebody else was faster, if the table says so too
			if again, tableErr := m.layers(target); tableErr != nil || len(again) >= len(layers) {
				return unmounted, fault.E("", fault.Unavailable, errors.Join(err, tableErr))
			}
		case errors.Is(err, unix.EBUSY):
			return unmounted, fault.E("", fault.MountBusy, fmt.Errorf("%w: a program has files open there, or something is mounted below", err))
		default:
			return unmounted, fault.E("", fault.Unavailable, err)
		}
	}
}

// removeTarget comes after the mount table said that nothing is mounted there.
func (m *Mounter) removeTarget(target string) (bool, error) {
	removed, err := removeTarget(target)
	if err != nil {
		return false, fault.E("", fault.Precondition, err)
	}
	return removed, nil
}

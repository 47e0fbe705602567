package nvme

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// Disconnect is nil only when sysfs shows no controller with that NQN and host NQN any more. It
// is fault.Busy, and nothing was done, while something uses a device of theirs or that cannot
// be told. The end of ctx leaves a removal running, which the next call waits for.
func (h *Host) Disconnect(ctx context.Context, nqn, hostNQN string, reason telemetry.DisconnectReason) error {
	op := "disconnect " + nqn
	defer h.paths.forget(nqn)
	if err := h.settled(ctx, nqn, hostNQN); err != nil {
		return fault.E(op, fault.Unavailable, err)
	}
	ours, err := h.tree.of(nqn, hostNQN)
	if err != nil {
		return fault.E(op, fault.Unavailable, err)
	}
	if len(ours) == 0 {
		return fault.E(op, fault.Unavailable, h.dropHeads(ctx, nqn))
	}
	all := removal{
		controllers: ours,
		left:        func() ([]controller, error) { return h.tree.of(nqn, hostNQN) },
		last:        true,
	}
	return fault.Wrap(op, h.remove(ctx, all, reason))
}

// settled waits for writes to /dev/nvme-fabrics that may yet make a controller for the NQN.
func (h *Host) settled(ctx context.Context, nqn, hostNQN string) error {
	for _, a := range h.attempts.of(nqn, hostNQN) {
		select {
		case <-a.over:
		case <-ctx.Done():
			return fmt.Errorf("a connect to %s is still running in the kernel: %w", a.key.portal, context.Cause(ctx))
		}
	}
	return nil
}

// dismiss removes just the controller that a made.
func (h *Host) dismiss(ctx context.Context, a *attempt) error {
	mine := func() ([]controller, error) {
		ours, err := h.tree.of(a.key.nqn, a.key.hostNQN)
		return slices.DeleteFunc(ours, func(c controller) bool { return c.name != a.controller || !c.portal.same(a.key.portal) }), err
	}
	found, err := mine()
	if err != nil || len(found) == 0 {
		return err
	}
	return h.remove(ctx, removal{controllers: found, left: mine}, telemetry.DisconnectRollback)
}

// removal is of controllers that nothing uses.
type removal struct {
	controllers []controller
	left        func() ([]controller, error) // those of them that are still there
	last        bool                         // no other controller of their subsystem is wanted
}

// remove deletes the controllers once nothing uses their devices, and waits until left finds
// none.
func (h *Host) remove(ctx context.Context, r removal, reason telemetry.DisconnectReason) error {
	return h.disconnecting(ctx, r.controllers[0], reason, func(ctx context.Context) error { return h.deleteAll(ctx, r) })
}

// disconnecting is the step nvme.disconnect: it calls look until that has nothing left to say.
func (h *Host) disconnecting(ctx context.Context, c controller, reason telemetry.DisconnectReason, look func(context.Context) error) (err error) {
	ctx, span := telemetry.Start(ctx, "nvme.disconnect", telemetry.Client, telemetry.NQN(c.nqn), telemetry.Controller(c.name))
	defer func() {
		span.End(err)
		h.metrics.RecordNVMeDisconnect(ctx, reason, err)
	}()
	wake, stop := h.watch()
	defer stop()
	looks, err := poll(ctx, wake, func() error { return look(ctx) })
	span.Set(telemetry.PollCount(looks))
	if _, refused := errors.AsType[*fault.Error](err); refused {
		return err
	}
	return fault.E("remove the controller", fault.Unavailable, err)
}

// unused is nil when nothing uses the devices of any of cs.
func (h *Host) unused(ctx context.Context, cs []controller) error {
	for _, c := range cs {
		disks, err := h.tree.disks(c)
		if errors.Is(err, errGone) {
			continue
		}
		if err != nil {
			return fault.E("look for the devices of "+c.name, fault.Busy, err)
		}
		for _, d := range disks {
			if err := h.usage.free(ctx, filepath.Join(h.tree.dev, d.name), d.dir); err != nil {
				return err
			}
		}
	}
	// A call that is over deletes nothing any more.
	return fault.Wrap("check that nothing uses the device", ctx.Err())
}

const deleteAttribute = "delete_controller"

// deleteAll asks for the removal of those of cs that are left and not yet going, which nothing
// may use: each time, as the device of one that was never live comes later. Of a removal that was asked for
// before and has not come back, only the end is waited for. What is not among the removal's is never deleted.
func (h *Host) deleteAll(ctx context.Context, r removal) error {
	remaining, err := r.left()
	if err != nil {
		return err
	}
	doomed := slices.DeleteFunc(slices.Clone(remaining), func(c controller) bool {
		return !slices.ContainsFunc(r.controllers, c.same) || strings.HasPrefix(c.state, stateDeleting) || h.deleting(c)
	})
	if err := h.unused(ctx, doomed); err != nil {
		return errStop{err}
	}
	if r.last {
		if err := h.dropHeads(ctx, r.controllers[0].nqn); err != nil {
			return errStop{err}
		}
	}
	for _, c := range doomed {
		if err := ctx.Err(); err != nil { // the caller has gone: delete nothing behind its back
			return errStop{err}
		}
		// EBUSY: the kernel deletes no controller that was never live; it may be soon.
		err := h.tell(ctx, c, deleteAttribute, "1")
		if err != nil && !vanished(err) && !errors.Is(err, unix.EBUSY) && ctx.Err() == nil {
			return errStop{err}
		}
	}
	if remaining, err = r.left(); err != nil {
		return err
	}
	if len(remaining) > 0 {
		return fmt.Errorf("controller %s is %s", remaining[0].name, remaining[0].state)
	}
	return nil
}

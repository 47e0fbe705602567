package nvme

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// Connect gives the verified device of t, connecting where that is still needed. It is
// idempotent: a controller that is there is adopted and gets our time-outs. On failure it takes
// down what this call made; where that is not certain the error is Unavailable. With several
// portals the first that answers decides; where the device is a multipath head the others are
// added as further paths, as far as they answer.
//
// A read-only flag on an adopted device (BLKROSET) stays: Connect is also asked for a volume that
// is in use, and cannot tell a flag that guards a read-only user from one that was left behind. A
// device of a new controller has none.
func (h *Host) Connect(ctx context.Context, t Target) (Device, error) {
	op := "connect " + t.NQN
	if err := t.validate(); err != nil {
		return Device{}, fault.E(op, fault.Invalid, err)
	}
	portals, usable, err := h.order(t)
	if err != nil {
		return Device{}, fault.Wrap(op, err)
	}
	wake, stop := h.watch()
	defer stop()

	var failed []error
	for i, p := range portals[:usable] {
		d, shared, err := h.attach(ctx, t, p, i+1, wake)
		if err != nil {
			failed = append(failed, fmt.Errorf("portal %s: %w", p, err))
			if ctx.Err() != nil {
				break
			}
			continue
		}
		if shared {
			h.addPaths(ctx, t, portals, i+1, wake)
		}
		return d, nil
	}
	return Device{}, worst(op, failed)
}

// worst joins what the portals said. Unavailable among them is the class of all, because it
// may stand for something left behind.
func worst(op string, failed []error) error {
	all := failed[0]
	if len(failed) > 1 {
		all = errors.Join(failed...)
	}
	for _, err := range failed {
		if fault.ReasonOf(err) == fault.ReasonUnavailable {
			return fault.E(op, fault.Unavailable, all)
		}
	}
	return fault.Wrap(op, all)
}

// order puts portals first that have a controller already. A controller for this NQN through an
// address that is not asked for is refused: it may be another array with a volume of that name,
// and the kernel would take both for one (facts/nvme.md §4 rule 1).
//
// usable is how many of the portals may be connected for the device: all, unless there is a controller
// whose device is not a multipath head. Then only those that have one: another portal would show the
// same volume as a second disk, beside the first with what waits to be written to it.
func (h *Host) order(t Target) (portals []Portal, usable int, err error) {
	ours, err := h.tree.of(t.NQN, t.HostNQN)
	if err != nil {
		return nil, 0, fault.E("look at sysfs", fault.Unavailable, err)
	}
	ours = slices.DeleteFunc(ours, controller.going)
	var there, others []Portal
	for _, p := range t.Portals {
		i := slices.IndexFunc(ours, func(c controller) bool { return c.portal.same(p) })
		switch {
		case i < 0:
			others = append(others, p)
		case ours[i].state == stateLive: // it is there at once, and one that is away may never be
			there = slices.Insert(there, 0, p)
		default:
			there = append(there, p)
		}
	}
	for _, c := range ours {
		if !slices.ContainsFunc(t.Portals, c.portal.same) {
			return nil, 0, fault.Errorf("adopt "+c.name, fault.Precondition,
				"it is connected to this NQN through %s, which is not asked for: unstage the volume on this node first", c.portal)
		}
	}
	usable = len(t.Portals)
	if slices.ContainsFunc(ours, func(c controller) bool { return !h.sharesDevice(c) }) {
		usable = len(there)
	}
	return append(there, others...), usable, nil
}

// sharesDevice tells whether the device of a controller is known to be a multipath head.
func (h *Host) sharesDevice(c controller) bool {
	disks, err := h.tree.disks(c)
	return err == nil && len(disks) > 0 && !slices.ContainsFunc(disks, func(d disk) bool { return !d.shared })
}

// attach connects through one portal, the number-th that is tried, and waits for the device.
func (h *Host) attach(ctx context.Context, t Target, p Portal, number int, wake <-chan struct{}) (Device, bool, error) {
	s, err := h.session(ctx, t, p, number, wake)
	if err != nil {
		return Device{}, false, h.rollback(ctx, s, err)
	}
	if s.attempt != nil { // here, since the kernel is not done with the device
		h.reportGranted(ctx, s.controller, t.Options)
	}
	d, shared, err := h.awaitDevice(ctx, t, p, s.controller, wake)
	if err != nil {
		return Device{}, false, h.rollback(ctx, s, err)
	}
	h.release(ctx, s, true)
	d.Adopted = s.attempt == nil
	if shared && t.Fenced {
		if err := h.keepHead(ctx, t.NQN, d); err != nil { // it can be used without
			h.logFailure(ctx, "make the kernel keep "+d.Path+" for a while after its controller", err)
		}
	}
	return d, shared, nil
}

// addPaths connects the portals of a multipath volume after the first tried. The volume is usable
// without.
func (h *Host) addPaths(ctx context.Context, t Target, portals []Portal, tried int, wake <-chan struct{}) {
	for i, p := range portals[tried:] {
		s, err := h.session(ctx, t, p, tried+i+1, wake)
		if err != nil {
			err = h.rollback(ctx, s, err)
			if h.paths.news(t.NQN, p, err.Error()) {
				h.logFailure(ctx, "a further path to "+t.NQN+" through "+p.String()+"; it is tried again", err)
			}
			continue
		}
		h.paths.news(t.NQN, p, "")
		h.release(ctx, s, true)
	}
}

// awaitDevice waits until the controller's block device is there and verified.
func (h *Host) awaitDevice(ctx context.Context, t Target, p Portal, name string, wake <-chan struct{}) (d Device, shared bool, err error) {
	start := time.Now()
	ctx, span := telemetry.Start(ctx, "nvme.device.wait", telemetry.Internal, telemetry.Controller(name))
	defer func() {
		span.End(err)
		h.metrics.RecordNVMeDeviceWait(ctx, err, time.Since(start))
	}()
	bounded, cancel := context.WithTimeout(ctx, h.device)
	defer cancel()
	looks, err := poll(bounded, wake, func() error {
		c, err := h.identified(t, p, name)
		if err != nil {
			return err
		}
		d, shared, err = h.tree.device(bounded, c)
		return err
	})
	span.Set(telemetry.PollCount(looks))
	if err == nil {
		span.Set(telemetry.Device(d.Path))
		return d, shared, nil
	}
	return Device{}, false, expired(ctx, bounded, "wait for the block device of "+name, fault.NVMeDeviceTimeout, err)
}

// identified reads the controller anew and proves that it is still the one of t. Its name may
// have gone to another meanwhile.
func (h *Host) identified(t Target, p Portal, name string) (controller, error) {
	c, err := h.tree.controller(name)
	switch {
	case errors.Is(err, errGone):
		return c, errStop{fault.Errorf("look at "+name, fault.NVMeControllerLost, "the kernel removed the controller: %w", err)}
	case err != nil:
		return c, err
	case c.nqn != t.NQN || c.hostNQN != t.HostNQN || !c.portal.same(p):
		return c, errStop{fault.Errorf("look at "+name, fault.NVMeControllerLost, "it is now another controller, of %s at %s", c.nqn, c.portal)}
	}
	return c, nil
}

// expired classifies the end of a wait: our own bound is reason's, the caller's is the caller's.
func expired(caller, bounded context.Context, op string, reason fault.Reason, err error) error {
	switch {
	case caller.Err() != nil:
		return fault.E(op, ended(caller, fault.Timeout), err)
	case bounded.Err() != nil:
		return fault.E(op, reason, err)
	default:
		return fault.Wrap(op, err)
	}
}

// ended is the class of what the end of ctx cut short: late when its time ran out.
func ended(ctx context.Context, late fault.Class) fault.Class {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fault.Canceled
	}
	return late
}

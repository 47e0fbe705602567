package nvme

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// Find looks without touching anything. It is fault.NotFound when no controller has that NQN
// and host NQN, fault.NVMeControllerLost when one is there but none is live with a verified
// device, and fault.Unavailable when sysfs or the device gives no answer.
//
// The Device says what was so at a moment within the call: before the caller acts on it, the
// kernel may have removed it and given its name, later its number too, to another. Who reads,
// formats or mounts opens the node, compares the descriptor's number, and asks Find again while
// it is open: as long as it is, the number goes to no other device (facts/nvme.md §4 rule 1).
func (h *Host) Find(ctx context.Context, nqn, hostNQN string) (Device, error) {
	_, d, err := h.find(ctx, nqn, hostNQN)
	return d, fault.Wrap("find "+nqn, err)
}

// Still is nil while d, a device of that NQN and host NQN that Find gave while the caller held it open, as it
// still does, is there, no smaller, and behind a live controller. While it is held, its number and its
// subsystem are its own, so that less has to be read than to find it (facts/nvme.md §4 rule 1).
func (h *Host) Still(ctx context.Context, nqn, hostNQN string, d Device) error {
	if err := wanted(ctx, nqn); err != nil {
		return err
	}
	if h.tree.shows(d, nqn, hostNQN) {
		return nil
	}
	now, err := h.Find(ctx, nqn, hostNQN) // by another path, or it says what is wrong
	return stillSame(d, now, err)
}

// wanted fails after the end of ctx: sysfs answers all the same, and the caller would go on.
func wanted(ctx context.Context, nqn string) error {
	if ctx.Err() == nil {
		return nil
	}
	return fault.E("find "+nqn, ended(ctx, fault.Timeout), context.Cause(ctx))
}

// shows is false also where that cannot be told. A head can outlive its last path (delayed_removal_secs), so
// the path is looked for as well.
func (t tree) shows(d Device, nqn, hostNQN string) bool {
	c, err := t.controller(d.Controller)
	if err != nil || c.nqn != nqn || c.hostNQN != hostNQN || c.state != stateLive {
		return false
	}
	if _, err := attribute(t.attrs, d.path, "nsid"); err != nil {
		return false
	}
	num, err := number(t.attrs, d.dir)
	if err != nil || num != d.Num {
		return false
	}
	size, err := t.size(d.dir)
	return err == nil && size >= d.Size
}

func stillSame(d, now Device, err error) error {
	if err == nil && (now.Num != d.Num || now.Size < d.Size) {
		return fault.Errorf("look for the device", fault.NVMeControllerLost, "the device changed under way: %s with %d bytes is now %s (%s) with %d",
			d.Num, d.Size, now.Num, now.Path, now.Size)
	}
	return err
}

func (h *Host) find(ctx context.Context, nqn, hostNQN string) ([]controller, Device, error) {
	ours, err := h.tree.of(nqn, hostNQN)
	if err != nil {
		return nil, Device{}, fault.E("look at sysfs", fault.Unavailable, err)
	}
	if len(ours) == 0 {
		return nil, Device{}, fault.Errorf("look at sysfs", fault.NotFound, "no controller is connected to it")
	}
	var devices []Device
	var unusable []error
	for _, c := range ours {
		d, _, err := h.tree.device(ctx, c)
		if err != nil {
			if _, known := errors.AsType[errUnusable](err); !known && ctx.Err() == nil {
				return ours, Device{}, fault.E("look for its device", fault.Unavailable, err)
			}
			unusable = append(unusable, err)
			continue
		}
		if !slices.ContainsFunc(devices, func(o Device) bool { return o.Num == d.Num }) {
			devices = append(devices, d)
		}
	}
	switch len(devices) {
	case 0:
		class := fault.Class(fault.NVMeControllerLost)
		if ctx.Err() != nil {
			class = ended(ctx, fault.Timeout)
		}
		return ours, Device{}, fault.E("look for its device", class, errors.Join(unusable...))
	case 1:
		devices[0].Adopted = true
		return ours, devices[0], nil
	default:
		return ours, Device{}, fault.Errorf("look for its device", fault.Precondition,
			"%s and %s both belong to it, since this kernel runs without native NVMe multipath: use one portal", devices[0].Path, devices[1].Path)
	}
}

// Rescan makes the kernel look at the namespace again and waits until the device has at least
// want bytes. The target's own notice of a new size may be missed (ceph-nvmeof#712).
func (h *Host) Rescan(ctx context.Context, nqn, hostNQN string, want uint64) (Device, error) {
	op := "rescan " + nqn
	wake, stop := h.watch()
	defer stop()
	ours, d, err := h.find(ctx, nqn, hostNQN)
	if err != nil || d.Size >= want {
		return d, fault.Wrap(op, err)
	}
	if err := h.rescanLive(ctx, ours); err != nil {
		return Device{}, fault.E(op, fault.Unavailable, err)
	}
	bounded, cancel := context.WithTimeout(ctx, h.device)
	defer cancel()
	_, err = poll(bounded, wake, func() error {
		if _, d, err = h.find(bounded, nqn, hostNQN); err != nil {
			return err
		}
		return grown(d, want)
	})
	if err != nil {
		return Device{}, expired(ctx, bounded, op, fault.NVMeDeviceTimeout, err)
	}
	return d, nil
}

func grown(d Device, want uint64) error {
	if d.Size < want {
		return fmt.Errorf("%s has %d bytes, fewer than the %d expected", d.Path, d.Size, want)
	}
	return nil
}

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
// formats or mounts opens the node, compares the descriptor's number, and asks again (Find or Still)
// while it is open: as long as it is, the number goes to no other device (facts/nvme.md §4 rule 1).
func (h *Host) Find(ctx context.Context, nqn, hostNQN string) (Device, error) {
	_, d, err := h.find(ctx, nqn, hostNQN)
	return d, fault.Wrap("find "+nqn, err)
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

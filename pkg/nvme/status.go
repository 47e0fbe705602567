package nvme

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// Link is how an NQN is connected, as sysfs shows it.
type Link string

// The links. Away is what the kernel mends by itself, as long as it keeps the controller; of Gone it
// never says anything any more.
const (
	LinkGone Link = "gone" // no controller
	LinkAway Link = "away" // controllers, but none that is live
	LinkLive Link = "live" // at least one is live
)

// Status is what can be known of an attachment without opening its device or waiting for anything.
type Status struct {
	Link  Link
	Live  int         // controllers that are live: with native multipath the usable paths
	Num   host.DevNum // of the block device, also while its controllers are away; zero where they show none
	Path  string      // of its node
	State string      // of the first controller that is not live, as the kernel names it
}

// Status reads sysfs only. Who acts on a device asks Find, which proves it by an open descriptor.
func (h *Host) Status(_ context.Context, nqn, hostNQN string) (Status, error) {
	op := "look at the controllers of " + nqn
	ours, err := h.tree.of(nqn, hostNQN)
	if err != nil {
		return Status{}, fault.E(op, fault.Unavailable, err)
	}
	s := Status{Link: LinkGone}
	if len(ours) > 0 {
		s.Link = LinkAway
	}
	for _, c := range ours {
		err := h.addDevice(&s, c)
		if c.state != stateLive {
			s.State = c.state
			continue
		}
		if err != nil {
			return Status{}, fault.E(op, fault.Unavailable, err)
		}
		s.Link = LinkLive
		s.Live++
	}
	return s, nil
}

// addDevice notes the device of a controller. That there is none is known; that it cannot be
// told, or that there are several, is an error.
func (h *Host) addDevice(s *Status, c controller) error {
	disks, err := h.tree.disks(c)
	for _, d := range disks {
		num, numErr := number(h.tree.attrs, d.dir)
		if numErr != nil {
			err = errors.Join(err, numErr)
			continue
		}
		if !s.Num.IsZero() && s.Num != num {
			return fmt.Errorf("%s and %s both belong to it", s.Path, d.name)
		}
		s.Num, s.Path = num, filepath.Join(h.tree.dev, d.name)
	}
	if _, known := errors.AsType[errUnusable](err); known {
		return nil
	}
	return err
}

// Refresh asks the live controllers of an NQN to look for their namespaces again. The kernel drops
// a namespace whose identifiers changed while its controller was away, and takes the new one only at
// the next scan (drivers/nvme/host/core.c, nvme_validate_ns).
func (h *Host) Refresh(ctx context.Context, nqn, hostNQN string) error {
	op := "rescan the namespaces of " + nqn
	ours, err := h.tree.of(nqn, hostNQN)
	if err != nil {
		return fault.E(op, fault.Unavailable, err)
	}
	return fault.E(op, fault.Unavailable, h.rescanLive(ctx, ours))
}

func (h *Host) rescanLive(ctx context.Context, ours []controller) error {
	for _, c := range ours {
		if c.state != stateLive {
			continue
		}
		if err := h.calls.write(ctx, filepath.Join(c.dir, "rescan_controller"), "1"); err != nil && !vanished(err) {
			return err
		}
	}
	return nil
}

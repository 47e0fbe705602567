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
	Link Link
	Live int         // controllers that are live: with native multipath the usable paths
	Away int         // controllers that are not, and may come back
	Num  host.DevNum // of the block device; zero where there is none. While Away that of a controller that may come back
	Path string      // of its node
	// Shared says that further controllers would be further paths to the same device (native multipath).
	Shared bool
	State  string // of the first controller that is not live, as the kernel names it
}

// Status reads sysfs only. Who acts on a device asks Find, which proves it by an open descriptor.
func (h *Host) Status(_ context.Context, nqn, hostNQN string) (Status, error) {
	ours, err := h.tree.of(nqn, hostNQN)
	if err != nil {
		return Status{}, fault.E("look at the controllers of "+nqn, fault.Unavailable, err)
	}
	return h.statusOf(nqn, ours)
}

// Statuses is Status for every NQN that has a controller under the host NQN: sysfs is read once, however
// many volumes there are. What cannot be told of an NQN stands in its place; only a controller of which not
// even the NQN can be read, which may be anybody's, fails the whole.
func (h *Host) Statuses(_ context.Context, hostNQN string) (map[string]StatusOrError, error) {
	const op = "list NVMe controllers"
	entries, err := h.tree.class("nvme")
	if err != nil {
		return nil, fault.E(op, fault.Unavailable, err)
	}
	byNQN, statuses := map[string][]controller{}, map[string]StatusOrError{}
	for _, e := range entries {
		if !controllerName.MatchString(e.Name()) {
			continue
		}
		c, err := h.tree.controller(e.Name())
		switch {
		case errors.Is(err, errGone), errors.Is(err, errNotMeant):
		case err != nil && c.nqn == "":
			return nil, fault.E(op, fault.Unavailable, err)
		case err != nil:
			statuses[c.nqn] = StatusOrError{Err: fault.E("look at "+c.name, fault.Unavailable, err)}
		case c.hostNQN == hostNQN:
			byNQN[c.nqn] = append(byNQN[c.nqn], c)
		}
	}
	for nqn, ours := range byNQN {
		if _, failed := statuses[nqn]; !failed {
			s, err := h.statusOf(nqn, ours)
			statuses[nqn] = StatusOrError{s, err}
		}
	}
	return statuses, nil
}

// StatusOrError is a status, or why it cannot be told.
type StatusOrError struct {
	Status
	Err error
}

// statusOf joins what the controllers of an NQN say.
func (h *Host) statusOf(nqn string, ours []controller) (Status, error) {
	s, away := Status{Link: LinkGone}, Status{Link: LinkAway}
	for _, c := range ours {
		switch {
		case c.going(): // nothing to wait for: it never comes back
		case c.state == stateLive:
			s.Link = LinkLive
			s.Live++
			if err := h.addDevice(&s, c); err != nil {
				return Status{}, fault.E("look at the controllers of "+nqn, fault.Unavailable, err)
			}
		default:
			away.State = c.state
			away.Away++
			_ = h.addDevice(&away, c) // only to know what waits, if that can be told
		}
	}
	if s.Link == LinkGone && away.State != "" {
		return away, nil
	}
	s.State, s.Away = away.State, away.Away
	return s, nil
}

// addDevice notes the device of a controller. That there is none is known; that it cannot be
// told, or that there are several, is an error.
func (h *Host) addDevice(s *Status, c controller) error {
	disks, err := h.tree.disks(c)
	for _, d := range disks {
		num, numErr := numberAt(h.tree.attrs, d.dir)
		if numErr != nil {
			err = errors.Join(err, numErr)
			continue
		}
		if !s.Num.IsZero() && s.Num != num {
			return fmt.Errorf("%s and %s both belong to it", s.Path, d.name)
		}
		s.Num, s.Path, s.Shared = num, filepath.Join(h.tree.dev, d.name), d.shared
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
		if err := h.tell(ctx, c, "rescan_controller", "1"); err != nil && !vanished(err) {
			return err
		}
	}
	return nil
}

package nvme

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// LowerCtrlLossTmo has the kernel give up the controllers of exactly that NQN and host NQN once
// they have been away for about so many seconds. One that is given up as soon or sooner stays as
// it is. It tells how many were changed.
func (h *Host) LowerCtrlLossTmo(ctx context.Context, nqn, hostNQN string, seconds int) (int, error) {
	return h.changeCtrlLossTmo(ctx, nqn, hostNQN, seconds, func(now lossTmo) bool {
		return now.seconds < 0 || now.seconds > now.shown(seconds)
	})
}

// RestoreCtrlLossTmo gives the controllers that show what LowerCtrlLossTmo leaves their own
// time-out back; negative is never. One that shows anything else was not lowered, or has been
// changed since, and stays as it is. It tells how many were changed.
func (h *Host) RestoreCtrlLossTmo(ctx context.Context, nqn, hostNQN string, lowered, own int) (int, error) {
	return h.changeCtrlLossTmo(ctx, nqn, hostNQN, own, func(now lossTmo) bool {
		return now.seconds == now.shown(lowered) && now.seconds != now.shown(own)
	})
}

func (h *Host) changeCtrlLossTmo(ctx context.Context, nqn, hostNQN string, seconds int, meant func(lossTmo) bool) (int, error) {
	op := "set ctrl_loss_tmo of " + nqn
	ours, err := h.tree.of(nqn, hostNQN)
	if err != nil {
		return 0, fault.E(op, fault.Unavailable, err)
	}
	changed := 0
	var errs []error
	for _, c := range ours {
		done, err := h.setCtrlLossTmo(ctx, c, seconds, meant)
		if err != nil {
			errs = append(errs, fmt.Errorf("controller %s: %w", c.name, err))
		}
		if done {
			changed++
		}
	}
	if len(errs) > 0 {
		return changed, fault.E(op, fault.Unavailable, errors.Join(errs...))
	}
	return changed, nil
}

// setCtrlLossTmo reads back what it wrote. A controller that is gone, and a kernel without these
// attributes, have nothing to set.
func (h *Host) setCtrlLossTmo(ctx context.Context, c controller, seconds int, meant func(lossTmo) bool) (bool, error) {
	now, err := h.lossTmo(c)
	if vanished(err) {
		return false, nil
	}
	if err != nil || !meant(now) {
		return false, err
	}
	err = h.tell(ctx, c, "ctrl_loss_tmo", strconv.Itoa(seconds))
	if vanished(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	after, err := h.lossTmo(c)
	switch {
	case vanished(err):
		return true, nil
	case err != nil:
		return true, err
	case after.seconds != after.shown(seconds):
		return true, fmt.Errorf("%d was written to ctrl_loss_tmo and it reads as %s", seconds, timeoutText(after.seconds))
	}
	return true, nil
}

// lossTmo is how long the kernel tries to reconnect, and how often.
type lossTmo struct {
	seconds int // -1 is for ever
	delay   int // seconds between two tries
}

func (h *Host) lossTmo(c controller) (now lossTmo, err error) {
	dir, err := host.OpenDirectory(c.dir)
	if err != nil {
		return now, err
	}
	defer dir.Close()
	text, err := h.tree.attrs.Read(dir, "ctrl_loss_tmo")
	if err != nil {
		return now, err
	}
	if now.seconds, err = strconv.Atoi(text); text == timeoutText(-1) {
		now.seconds, err = -1, nil
	}
	if err != nil {
		return now, fmt.Errorf("ctrl_loss_tmo reads as %.40q: %w", text, err)
	}
	if text, err = h.tree.attrs.Read(dir, "reconnect_delay"); err != nil {
		return now, err
	}
	// With a delay of 0, which they take, kernels divide by zero when ctrl_loss_tmo is written.
	if now.delay, err = strconv.Atoi(text); err != nil || now.delay < 1 {
		return now, fmt.Errorf("reconnect_delay reads as %.40q: ctrl_loss_tmo cannot be set beside that", text)
	}
	return now, nil
}

// shown is what a time-out reads as once it is written: the kernel keeps it as a number of
// reconnects, rounded up (drivers/nvme/host/sysfs.c, nvme_ctrl_loss_tmo_store and _show). "off"
// is what it shows for never, but only a negative number can be written for that.
func (l lossTmo) shown(seconds int) int {
	if seconds < 0 {
		return -1
	}
	return (seconds + l.delay - 1) / l.delay * l.delay
}

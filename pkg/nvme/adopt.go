package nvme

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// adopt takes over a controller that is there, whoever made it: it waits until it is live and
// gives it our time-outs. It is never taken down by this call.
func (h *Host) adopt(ctx context.Context, t Target, p Portal, name string, wake <-chan struct{}) (session, error) {
	bounded, cancel := context.WithTimeout(ctx, h.connect)
	defer cancel()
	var c controller
	_, err := poll(bounded, wake, func() (err error) {
		c, err = h.identified(t, p, name)
		if err == nil && c.state != stateLive {
			return fmt.Errorf("controller %s is %s: the target is away", name, c.state)
		}
		return err
	})
	if err != nil {
		return session{}, expired(ctx, bounded, "adopt "+name, fault.NVMeConnectTimeout, err)
	}
	if err := h.tune(ctx, c, t.Options); err != nil {
		return session{}, fault.E("set the time-outs of "+name, fault.Unavailable, err)
	}
	return session{controller: name}, nil
}

// tune writes the time-outs that differ: the host's own autoconnect makes controllers with the
// kernel's defaults, which drop a volume after ten minutes (longhorn#13651). reconnect_delay
// goes first, as the kernel keeps ctrl_loss_tmo as a number of reconnects. Kernels that lack
// an attribute have nothing to set.
func (h *Host) tune(ctx context.Context, c controller, o Options) error {
	dir, err := open(c.dir)
	if errors.Is(err, errGone) {
		return nil // who waits for its device finds that out
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	for _, a := range []struct {
		name  string
		value int
	}{
		{"reconnect_delay", o.ReconnectDelay}, {"ctrl_loss_tmo", o.CtrlLossTmo}, {"fast_io_fail_tmo", o.FastIOFailTmo},
	} {
		now, err := h.tree.attrs.Read(dir, a.name)
		if vanished(err) || a.value == 0 {
			continue
		}
		if err != nil {
			return err
		}
		if now == timeoutText(a.value) {
			continue
		}
		if err := h.tell(ctx, c, a.name, strconv.Itoa(a.value)); err != nil {
			return err
		}
	}
	return nil
}

// timeoutText is how sysfs shows a time-out (vm.md "What the kernel did" 7).
func timeoutText(seconds int) string {
	if seconds < 0 {
		return "off"
	}
	return strconv.Itoa(seconds)
}

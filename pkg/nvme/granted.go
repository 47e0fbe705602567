package nvme

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// parameter is one of Options: its name in the option string, and the attribute that shows what
// became of it.
type parameter struct {
	option, attribute string
	value             int
	least             int // the least value that is sent; below it the kernel's default stands
}

// parameters lists what o asks of the kernel. fast_io_fail_tmo is off by default and then not sent.
func (o Options) parameters() []parameter {
	all := []parameter{
		{"nr_io_queues", "queue_count", o.NrIOQueues, 1},
		{"keep_alive_tmo", "kato", o.KeepAliveTmo, 1},
		{"reconnect_delay", "reconnect_delay", o.ReconnectDelay, 1},
		{"ctrl_loss_tmo", "ctrl_loss_tmo", o.CtrlLossTmo, -1},
		{"fast_io_fail_tmo", "fast_io_fail_tmo", o.FastIOFailTmo, 1},
	}
	return slices.DeleteFunc(all, func(p parameter) bool { return p.value == 0 || p.value < p.least })
}

func (p parameter) String() string { return p.option + "=" + strconv.Itoa(p.value) }

// shown is how sysfs shows the parameter if the kernel took it as it is. The admin queue is counted
// as well.
func (p parameter) shown() string {
	if p.option == "nr_io_queues" {
		return strconv.Itoa(p.value + 1)
	}
	return timeoutText(p.value)
}

func describe(parameters []parameter) string {
	var texts []string
	for _, p := range parameters {
		texts = append(texts, p.String())
	}
	return strings.Join(texts, ",")
}

// reportGranted says by name what a new controller did not take as it was asked: kernels lack
// options, limit queues to their processors, and targets grant fewer. The volume works all the same.
func (h *Host) reportGranted(ctx context.Context, name string, o Options) {
	dir, err := open(h.tree.controllerDir(name))
	if err != nil {
		return // who waits for its device finds out why
	}
	defer dir.Close()
	for _, p := range o.parameters() {
		got, err := h.tree.attrs.Read(dir, p.attribute)
		if err != nil || got == p.shown() { // kernels lack attributes, too
			continue
		}
		h.log.Info("the kernel or the target did not take a parameter as asked", append(telemetry.LogFields(ctx),
			zap.String("controller", name), zap.String("parameter", p.String()), zap.String("sysfs", p.attribute), zap.String("got", got))...)
	}
}

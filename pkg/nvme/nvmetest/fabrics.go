package nvmetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

// linux61 is what /dev/nvme-fabrics of Linux 6.1 lists (facts/nvme.md §1.1).
var linux61 = []string{
	"transport", "traddr", "trsvcid", "nqn", "queue_size", "nr_io_queues", "reconnect_delay", "ctrl_loss_tmo",
	"keep_alive_tmo", "hostnqn", "host_traddr", "host_iface", "hostid", "duplicate_connect", "disable_sqflow", "hdr_digest",
	"data_digest", "nr_write_queues", "nr_poll_queues", "tos", "fast_io_fail_tmo", "discovery", "dhchap_secret", "dhchap_ctrl_secret",
}

func (k *Kernel) known() []string {
	if k.opts.Known != nil {
		return k.opts.Known
	}
	return linux61
}

// Options is a read of /dev/nvme-fabrics before any write.
func (k *Kernel) Options() (string, error) {
	if err := k.door(); err != nil {
		return "", err
	}
	if k.opts.NoList {
		return "", os.NewSyscallError("read", unix.EINVAL)
	}
	return "instance=-1,cntlid=-1," + strings.Join(k.known(), "=%s,") + "=%s", nil
}

func (k *Kernel) door() error {
	if _, err := os.Stat(k.path("dev/nvme-fabrics")); err != nil {
		return &os.PathError{Op: "open", Path: k.path("dev/nvme-fabrics"), Err: unix.ENOENT}
	}
	return nil
}

// Create is the write to /dev/nvme-fabrics.
func (k *Kernel) Create(options string) (string, error) {
	if err := k.door(); err != nil {
		return "", err
	}
	k.mu.Lock()
	k.creates = append(k.creates, options)
	k.running++
	k.peak = max(k.peak, k.running)
	k.mu.Unlock()
	k.createGate.pass()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.running--
	c, err := k.create(options)
	if err != nil {
		return "", os.NewSyscallError("write", err)
	}
	return fmt.Sprintf("instance=%d,cntlid=%d", c.id, c.cntlid), nil
}

func (k *Kernel) create(options string) (*controller, error) {
	if len(k.createErrs) > 0 {
		err := k.createErrs[0]
		k.createErrs = k.createErrs[1:]
		return nil, err
	}
	o, err := k.parse(options)
	if err != nil {
		return nil, err
	}
	for _, c := range k.controllers {
		if err := k.meetHost(c, o); err != nil {
			return nil, err
		}
		if c.counts() && same(c.opts, o) && o["duplicate_connect"] == "" {
			return nil, unix.EALREADY
		}
	}
	if k.listeners[portalOf(o)] == nil {
		return nil, unix.ECONNREFUSED
	}
	return k.admit(o)
}

// meetHost compares the host with that of a controller that is there. Older kernels have one host for all its
// controllers, and the last ID given is its ID.
func (k *Kernel) meetHost(c *controller, o map[string]string) error {
	sameNQN, sameID := c.opts["hostnqn"] == o["hostnqn"], c.opts["hostid"] == o["hostid"]
	switch {
	case c.transport != "tcp", sameNQN == sameID:
		return nil
	case k.opts.StrictHostID:
		return unix.EINVAL
	case sameNQN:
		c.opts["hostid"] = o["hostid"]
		k.replace(c.dir+"/hostid", o["hostid"])
	}
	return nil
}

// admit is the target's part: it tells neither an unknown NQN from a host that is not allowed.
func (k *Kernel) admit(o map[string]string) (*controller, error) {
	export, ok := k.exports[o["nqn"]]
	if !ok || (len(export.Hosts) > 0 && !slices.Contains(export.Hosts, o["hostnqn"])) {
		return nil, unix.EIO
	}
	if s := k.subsystems[export.NQN]; s != nil && k.opts.SingleController && len(s.controllers) > 0 {
		return nil, unix.EINVAL
	}
	return k.addController(o, export), nil
}

// parse is nvmf_parse_options: any token it does not know is EINVAL; of one that is given twice the last
// counts, but before Linux 6.5 a host NQN must not be.
func (k *Kernel) parse(options string) (map[string]string, error) {
	o := map[string]string{}
	for token := range strings.SplitSeq(options, ",") {
		key, value, ok := strings.Cut(token, "=")
		if !slices.Contains(k.known(), key) || (!ok && key != "duplicate_connect") || (ok && value == "") {
			return nil, unix.EINVAL
		}
		if key == "hostnqn" && o[key] != "" && !k.opts.StrictHostID {
			return nil, unix.EADDRINUSE
		}
		o[key] = value
		if !ok {
			o[key] = "1"
		}
	}
	for _, needed := range []string{"transport", "nqn", "traddr", "hostnqn", "hostid"} {
		if o[needed] == "" {
			return nil, unix.EINVAL
		}
	}
	for _, number := range []string{"ctrl_loss_tmo", "reconnect_delay", "fast_io_fail_tmo", "keep_alive_tmo", "nr_io_queues"} {
		if _, err := strconv.Atoi(o[number]); err != nil && o[number] != "" {
			return nil, unix.EINVAL
		}
	}
	if o["trsvcid"] == "" {
		o["trsvcid"] = "8009" // the discovery port (facts/nvme.md §1.1)
	}
	return o, nil
}

func same(a, b map[string]string) bool {
	for _, key := range []string{"nqn", "hostnqn", "hostid", "traddr", "trsvcid"} {
		if a[key] != b[key] {
			return false
		}
	}
	return true
}

func portalOf(o map[string]string) nvme.Portal {
	port, _ := strconv.Atoi(o["trsvcid"])
	return nvme.Portal{Address: o["traddr"], Port: port}
}

// FailCreates makes the next writes to /dev/nvme-fabrics fail, one for each error.
func (k *Kernel) FailCreates(errs ...error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.createErrs = append(k.createErrs, errs...)
}

// Creates lists the option strings written so far.
func (k *Kernel) Creates() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.creates)
}

// PeakCreates is how many writes were running at once at most.
func (k *Kernel) PeakCreates() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.peak
}

// Autoconnect makes a controller as the machine's own nvmf-autoconnect would, with the kernel's
// default time-outs (longhorn#13651).
func (k *Kernel) Autoconnect(t nvme.Target) string {
	k.t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	p := t.Portals[0]
	c, err := k.create(fmt.Sprintf("transport=tcp,traddr=%s,trsvcid=%d,nqn=%s,hostnqn=%s,hostid=%s", p.Address, p.Port, t.NQN, t.HostNQN, t.HostID))
	if err != nil {
		k.t.Fatalf("autoconnect: %v", err)
	}
	return c.name
}

// Run is the machine's programs: modprobe only.
func (k *Kernel) Run(_ context.Context, name string, args ...string) (host.Result, error) {
	if name != "modprobe" || !slices.Equal(args, []string{"nvme-tcp"}) {
		return host.Result{}, fmt.Errorf("%s %v: %w", name, args, host.ErrNotInstalled)
	}
	if !k.opts.NoModule {
		return host.Result{}, errors.New("modprobe was run although the module is there")
	}
	k.loadModule()
	return host.Result{}, nil
}

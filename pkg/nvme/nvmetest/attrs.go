package nvmetest

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// writable are the attributes of a controller that can be written; the rest is EACCES, for root too.
var writable = []string{"delete_controller", "rescan_controller", "reset_controller", "ctrl_loss_tmo", "reconnect_delay", "fast_io_fail_tmo"}

// Read reads an attribute of the tree.
func (k *Kernel) Read(dir *host.Directory, name string) (string, error) {
	return host.Attributes{}.Read(dir, name)
}

// Set is Write by a path.
func (k *Kernel) Set(path, value string) error {
	dir, err := host.OpenDirectory(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return k.Write(dir, filepath.Base(path), value)
}

// Write is a write to an attribute of a controller or a head. That of a device that is gone is ENOENT, whoever
// has its name.
func (k *Kernel) Write(dir *host.Directory, attr, value string) error {
	path := filepath.Join(dir.Path(), attr)
	fail := func(err error) error { return &os.PathError{Op: "write", Path: path, Err: err} }
	if attr == "delete_controller" {
		k.deleteGate.pass()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, err := dir.Names(); err != nil {
		return err
	}
	k.writes = append(k.writes, filepath.Base(filepath.Dir(path))+"/"+attr+"="+value)
	if attr == "delayed_removal_secs" {
		return k.keep(path, value)
	}
	c := k.controllers[filepath.Base(filepath.Dir(path))]
	if _, err := os.Stat(path); err != nil || c == nil || filepath.Dir(path) != k.path("sys/class/nvme/"+c.name) {
		return fail(unix.ENOENT)
	}
	if !slices.Contains(writable, attr) {
		return fail(unix.EACCES)
	}
	if err := k.store(c, attr, value); err != nil {
		return fail(err)
	}
	return nil
}

// keep stores how long a head stays after its last controller.
func (k *Kernel) keep(path, value string) error {
	if _, err := os.Stat(path); err != nil {
		return err
	}
	for _, s := range k.subsystems {
		for _, h := range s.heads {
			for _, d := range h.disks {
				if filepath.Base(filepath.Dir(path)) == d.name {
					h.kept = value != "0"
					k.replace(d.dir+"/delayed_removal_secs", value)
				}
			}
		}
	}
	return nil
}

func (k *Kernel) store(c *controller, attr, value string) error {
	switch attr {
	case "delete_controller":
		if c.state == "new" {
			return unix.EBUSY // never live yet (facts/nvme.md §1.4)
		}
		k.removeController(c)
		return nil
	case "rescan_controller":
		k.scan(c)
		return nil
	case "reset_controller":
		return nil
	}
	n, err := strconv.Atoi(strings.TrimSpace(value))
	if err != nil {
		return unix.EINVAL
	}
	switch attr {
	case "ctrl_loss_tmo":
		c.setLoss(n)
	case "reconnect_delay":
		if n < 0 {
			return unix.EINVAL
		}
		c.reconnectDelay = n
		k.replace(c.dir+"/reconnect_delay", strconv.Itoa(n))
	default:
		k.replace(c.dir+"/"+attr, timeout(strconv.Itoa(n)))
		return nil
	}
	k.replace(c.dir+"/ctrl_loss_tmo", c.loss())
	return nil
}

// setLoss keeps a ctrl_loss_tmo as the kernel does, as a number of reconnects, rounded up
// (drivers/nvme/host/sysfs.c, nvme_ctrl_loss_tmo_store; fabrics.c, nvmf_parse_options). With a
// reconnect_delay of 0, which it takes, a kernel divides by zero here, and so does this.
func (c *controller) setLoss(seconds int) {
	c.maxReconnects = -1
	if seconds >= 0 {
		c.maxReconnects = (seconds + c.reconnectDelay - 1) / c.reconnectDelay
	}
}

// loss is how the kernel shows what setLoss has kept.
func (c *controller) loss() string {
	if c.maxReconnects == -1 {
		return "off"
	}
	return strconv.Itoa(c.maxReconnects * c.reconnectDelay)
}

// Writes lists what was written to sysfs so far, as controller/attribute=value.
func (k *Kernel) Writes() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.writes)
}

// SetState puts a controller into a state: connecting while its target is away.
func (k *Kernel) SetState(name, state string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.controllers[name]
	c.state = state
	k.replace(c.dir+"/state", state)
	k.ring()
}

// Drop removes a controller as the kernel does by itself: ctrl_loss_tmo has passed, or the
// target answered with DNR (facts/nvme.md §0.1).
func (k *Kernel) Drop(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.removeController(k.controllers[name])
}

// DropNamespace removes the devices of a live controller, as the kernel does when it finds that the
// identifiers of a namespace changed (drivers/nvme/host/core.c, nvme_validate_ns). A rescan finds the
// namespace as a new one.
func (k *Kernel) DropNamespace(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.controllers[name]
	for _, d := range c.disks {
		k.removeDisk(d)
	}
	k.dropPaths(c)
	for _, h := range c.sub.heads {
		for _, d := range h.disks {
			k.removeDisk(d)
		}
	}
	c.disks = nil
	k.settle(c.sub)
	k.ring()
}

// DropPaths does the same to a multipath device whose head is kept (delayed_removal_secs).
func (k *Kernel) DropPaths(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dropPaths(k.controllers[name])
	k.ring()
}

func (k *Kernel) dropPaths(c *controller) {
	for _, path := range c.paths {
		k.remove("sys/block/" + path)
		k.remove(c.dir + "/" + path)
	}
	c.paths = nil
}

// Controllers lists the names of all NVMe/TCP controllers.
func (k *Kernel) Controllers() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var names []string
	for name, c := range k.controllers {
		if c.transport == "tcp" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// AddPCIe puts a local NVMe disk into the machine, which has no NQN of a host.
func (k *Kernel) AddPCIe() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	id := lowest(0, func(n int) bool { return k.ids[n] > 0 })
	k.ids[id]++
	name := "nvme" + strconv.Itoa(id)
	dir := "sys/devices/pci0000:00/nvme/" + name
	k.mkdir(dir, "sys/class/nvme")
	k.put(dir+"/transport", "pcie")
	k.put(dir+"/subsysnqn", "nqn.1988-11.com.dell:local")
	k.put(dir+"/state", "live")
	k.link("sys/class/nvme/"+name, dir)
	k.controllers[name] = &controller{id: id, name: name, dir: dir, transport: "pcie", state: "live"}
	return name
}

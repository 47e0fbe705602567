package nvmetest

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// blockExtMajor is the major number NVMe namespaces get (BLOCK_EXT_MAJOR).
const blockExtMajor = 259

type subsystem struct {
	id          int
	nqn         string
	dir         string
	controllers map[string]*controller
	heads       map[int]*head // by the number after n, which is no NSID
	pinned      []int         // instances of controllers that are gone while a disk is still mounted
}

// head is a namespace's block device, or the number of one that is gone but still mounted.
type head struct {
	id, nsid int
	wwid     string
	size     uint64
	disks    []*disk
	kept     bool // outlives its last controller (delayed_removal_secs)
}

// disk is a node in /dev.
type disk struct {
	name, dir string
	num       host.DevNum
	size      uint64
	gone      bool
}

type controller struct {
	id, cntlid int
	name, dir  string
	transport  string
	state      string
	opts       map[string]string
	sub        *subsystem
	paths      []string // hidden nodes
	disks      []*disk  // its own, not the heads of the subsystem

	reconnectDelay, maxReconnects int
}

// counts tells whether the kernel takes the controller for a connection (EALREADY).
func (c *controller) counts() bool {
	return c.transport == "tcp" && !strings.HasPrefix(c.state, "deleting") && c.state != "dead"
}

// lowest is what an ida gives.
func lowest(from int, taken func(int) bool) int {
	for n := from; ; n++ {
		if !taken(n) {
			return n
		}
	}
}

func (k *Kernel) addController(o map[string]string, export Subsystem) *controller {
	id := lowest(0, func(n int) bool { return k.ids[n] > 0 })
	k.ids[id]++
	sub := k.subsystemOf(export.NQN, id)
	name := fmt.Sprintf("nvme%d", id)
	c := &controller{
		id: id, cntlid: id + 1, name: name, dir: "sys/devices/virtual/nvme-fabrics/ctl/" + name,
		transport: "tcp", state: "live", opts: o, sub: sub, reconnectDelay: number(o["reconnect_delay"], 10),
	}
	c.setLoss(number(o["ctrl_loss_tmo"], 600))
	sub.controllers[name] = c
	k.mkdir(c.dir)
	for attr, value := range map[string]string{
		"transport": "tcp", "subsysnqn": export.NQN, "hostnqn": o["hostnqn"], "hostid": o["hostid"], "state": c.state,
		"address":           fmt.Sprintf("traddr=%s,trsvcid=%s,src_addr=127.0.0.1", o["traddr"], o["trsvcid"]),
		"cntlid":            strconv.Itoa(c.cntlid),
		"queue_count":       strconv.Itoa(1 + k.granted(o["nr_io_queues"])),
		"kato":              strconv.Itoa(number(o["keep_alive_tmo"], 5)),
		"delete_controller": "", "rescan_controller": "", "reset_controller": "",
		"reconnect_delay":  strconv.Itoa(c.reconnectDelay),
		"ctrl_loss_tmo":    c.loss(),
		"fast_io_fail_tmo": timeout(strconv.Itoa(number(o["fast_io_fail_tmo"], -1))),
	} {
		k.put(c.dir+"/"+attr, value)
	}
	k.link(sub.dir+"/"+name, c.dir)
	k.link("sys/class/nvme/"+name, c.dir)
	k.controllers[name] = c
	k.ring()
	// The namespace scan is work of its own: the write does not wait for it.
	k.background.Go(func() {
		k.deviceGate.pass()
		k.mu.Lock()
		defer k.mu.Unlock()
		k.scan(c)
	})
	return c
}

// granted is how many I/O queues a controller gets: as many as it asks for, one for each of the
// machine's 8 processors if it does not, and no more than the target has.
func (k *Kernel) granted(asked string) int {
	n := number(asked, 8)
	if k.opts.Queues > 0 {
		n = min(n, k.opts.Queues)
	}
	return n
}

// number is an option that was parsed when it came.
func number(text string, fallback int) int {
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	return fallback
}

func timeout(seconds string) string {
	if strings.HasPrefix(seconds, "-") {
		return "off"
	}
	return seconds
}

// subsystemOf finds the subsystem or makes it with the instance of its first controller.
func (k *Kernel) subsystemOf(nqn string, id int) *subsystem {
	if s := k.subsystems[nqn]; s != nil {
		return s
	}
	k.ids[id]++
	name := fmt.Sprintf("nvme-subsys%d", id)
	s := &subsystem{
		id: id, nqn: nqn, dir: "sys/devices/virtual/nvme-subsystem/" + name,
		controllers: map[string]*controller{}, heads: map[int]*head{},
	}
	k.mkdir(s.dir)
	k.put(s.dir+"/subsysnqn", nqn)
	k.link("sys/class/nvme-subsystem/"+name, s.dir)
	k.subsystems[nqn] = s
	return s
}

// scan shows the namespaces of the export.
func (k *Kernel) scan(c *controller) {
	export, ok := k.exports[c.sub.nqn]
	if k.controllers[c.name] != c || !ok {
		return
	}
	for nsid := 1; nsid <= max(export.Namespaces, 1); nsid++ {
		h := c.sub.head(nsid, export)
		k.addDisk(c, h)
		for _, d := range h.disks {
			k.setSize(d, export.Size)
		}
	}
	k.ring()
}

// head finds the live head of a namespace or allocates one: a mounted one that is gone keeps
// its number and never comes back (facts/nvme.md §1.5).
func (s *subsystem) head(nsid int, export Subsystem) *head {
	for _, h := range s.heads {
		if h.nsid == nsid && !h.stale() {
			return h
		}
	}
	id := lowest(1, func(n int) bool { return s.heads[n] != nil })
	h := &head{id: id, nsid: nsid, wwid: fmt.Sprintf("uuid.%s-%d", export.NQN, nsid), size: export.Size}
	s.heads[id] = h
	return h
}

func (h *head) stale() bool {
	return len(h.disks) > 0 && !slices.ContainsFunc(h.disks, func(d *disk) bool { return !d.gone })
}

// addDisk makes the nodes of one namespace for one controller (facts/nvme.md §1.4, naming).
func (k *Kernel) addDisk(c *controller, h *head) {
	switch {
	case !k.opts.Multipath:
		if !slices.ContainsFunc(h.disks, func(d *disk) bool { return slices.Contains(c.disks, d) }) {
			c.disks = append(c.disks, k.newDisk(h, fmt.Sprintf("nvme%dn%d", c.id, h.id), c.dir))
		}
	case k.opts.SingleController:
		if len(h.disks) == 0 {
			c.disks = append(c.disks, k.newDisk(h, fmt.Sprintf("nvme%dn%d", c.sub.id, h.id), c.dir))
		}
	default:
		path := fmt.Sprintf("nvme%dc%dn%d", c.sub.id, c.id, h.id)
		if slices.Contains(c.paths, path) {
			return
		}
		c.paths = append(c.paths, path)
		dir := c.dir + "/" + path
		k.device(dir, map[string]string{"hidden": "1", "nsid": strconv.Itoa(h.nsid), "wwid": h.wwid, "ana_state": "optimized", "size": "0"})
		k.link("sys/block/"+path, dir)
		if len(h.disks) == 0 {
			d := k.newDisk(h, fmt.Sprintf("nvme%dn%d", c.sub.id, h.id), c.sub.dir)
			if k.opts.DelayedRemoval {
				k.put(d.dir+"/delayed_removal_secs", "0")
			}
		}
	}
}

// device makes a block device's directory, all attributes at once.
func (k *Kernel) device(dir string, attrs map[string]string) {
	const making = "sys/devices/making"
	k.mkdir(making+"/holders", making+"/queue")
	for attr, value := range attrs {
		k.put(making+"/"+attr, value)
	}
	k.must(os.Rename(k.path(making), k.path(dir)))
}

func (k *Kernel) newDisk(h *head, name, parent string) *disk {
	minor := uint32(lowest(0, func(n int) bool { return k.minors[uint32(n)] }))
	k.minors[minor] = true
	d := &disk{name: name, dir: parent + "/" + name, num: host.DevNum{Major: blockExtMajor, Minor: minor}, size: h.size}
	h.disks = append(h.disks, d)
	k.device(d.dir, map[string]string{
		"hidden": "0", "nsid": strconv.Itoa(h.nsid), "wwid": h.wwid, "dev": d.num.String(), "size": strconv.FormatUint(d.size/512, 10), "ro": "0",
	})
	k.put("dev/"+name, "")
	k.link("sys/block/"+name, d.dir)
	k.link("sys/class/block/"+name, d.dir)
	k.link("sys/dev/block/"+d.num.String(), d.dir)
	return d
}

func (k *Kernel) setSize(d *disk, size uint64) {
	if d.size != size && !d.gone {
		d.size = size
		k.replace(d.dir+"/size", strconv.FormatUint(size/512, 10))
	}
}

// removeController deletes it with what only it had. A disk that is in use keeps its numbers.
func (k *Kernel) removeController(c *controller) {
	delete(k.controllers, c.name)
	delete(c.sub.controllers, c.name)
	k.remove("sys/class/nvme/" + c.name)
	for _, d := range c.disks {
		k.removeDisk(d)
	}
	for _, path := range c.paths {
		k.remove("sys/block/" + path)
	}
	if len(c.sub.controllers) == 0 {
		for _, h := range c.sub.heads {
			if h.kept {
				continue
			}
			for _, d := range h.disks {
				k.removeDisk(d)
			}
		}
	}
	k.remove(c.dir)
	k.remove(c.sub.dir + "/" + c.name)
	k.settle(c.sub)
	if k.subsystems[c.sub.nqn] == c.sub && len(c.sub.controllers) == 0 {
		c.sub.pinned = append(c.sub.pinned, c.id) // by a stale mount (vm.md 6)
	} else {
		k.ids[c.id]--
	}
	k.ring()
}

func (k *Kernel) removeDisk(d *disk) {
	if d.gone {
		return
	}
	d.gone = true
	k.remove("dev/" + d.name)
	k.remove("sys/block/" + d.name)
	k.remove("sys/class/block/" + d.name)
	k.remove("sys/dev/block/" + d.num.String())
	k.remove(d.dir)
}

// settle frees the numbers that nothing uses any more.
func (k *Kernel) settle(s *subsystem) {
	for id, h := range maps.Clone(s.heads) {
		h.disks = slices.DeleteFunc(h.disks, func(d *disk) bool {
			free := d.gone && !k.used(d)
			if free {
				delete(k.minors, d.num.Minor)
			}
			return free
		})
		if len(h.disks) == 0 && len(s.controllers) == 0 {
			delete(s.heads, id)
		}
	}
	if len(s.controllers) == 0 && len(s.heads) == 0 {
		delete(k.subsystems, s.nqn)
		k.remove("sys/class/nvme-subsystem/" + fmt.Sprintf("nvme-subsys%d", s.id))
		k.remove(s.dir)
		k.ids[s.id]--
		for _, id := range s.pinned {
			k.ids[id]--
		}
	}
}

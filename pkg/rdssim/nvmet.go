package rdssim

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// dummyNQN is a subsystem without a namespace that stays linked, so that
// nvmet listens before and after the exports are there: a booting array
// refuses a connect, it does not refuse TCP.
const dummyNQN = "nqn.2000-02.com.mikrotik:rds-sim.listen"

// cntlidStep is how far each export raises attr_cntlid_min. Without it a
// second controller after a relink fails with EINVAL.
const (
	cntlidStep = 32
	cntlidMax  = 65519
)

// nvmet exports through the kernel's NVMe target, by its configfs.
type nvmet struct {
	root    string // /sys/kernel/config/nvmet
	address string
	port    int
	ports   map[int]bool
	ours    map[string]export
	cntlid  int
	// mkdir and rmdir make and remove a configfs directory: its attributes come
	// and go with it.
	mkdir, rmdir func(path string) error
}

// newNVMeT checks that the target is there. The modules must be loaded.
func newNVMeT(root, address string) (*nvmet, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("NVMe address %q: %w", address, err)
	}
	port, err := strconv.Atoi(service)
	if err != nil || net.ParseIP(host) == nil {
		return nil, fmt.Errorf("NVMe address %q: want a numeric IP address and port", address)
	}
	if _, err := os.Stat(filepath.Join(root, "subsystems")); err != nil {
		return nil, fmt.Errorf("nvmet is not there: %w; run: modprobe -a nvmet nvmet_tcp; mount -t configfs none /sys/kernel/config", err)
	}
	return &nvmet{
		root: root, address: host, port: port, ports: map[int]bool{}, ours: map[string]export{}, cntlid: 1,
		mkdir: func(path string) error { return os.Mkdir(path, 0o755) }, rmdir: os.Remove,
	}, nil
}

// Open listens on the first port.
func (n *nvmet) Open() error { return n.addPort(n.port) }

func (n *nvmet) path(parts ...string) string {
	return filepath.Join(append([]string{n.root}, parts...)...)
}

func (n *nvmet) subsystem(nqn string, parts ...string) string {
	return n.path(append([]string{"subsystems", nqn}, parts...)...)
}

func (n *nvmet) portDir(port int, parts ...string) string {
	return n.path(append([]string{"ports", strconv.Itoa(port)}, parts...)...)
}

// addPort makes the port (its number is its TCP port, as on the real array)
// and links the dummy subsystem, which makes the kernel listen.
func (n *nvmet) addPort(port int) error {
	if n.ports[port] {
		return nil
	}
	if err := n.reclaim(port); err != nil {
		return fmt.Errorf("nvmet port %d of an earlier run: %w", port, err)
	}
	family := "ipv4"
	if strings.Contains(n.address, ":") {
		family = "ipv6"
	}
	if err := n.makeDir(n.portDir(port)); err != nil {
		return err
	}
	n.ports[port] = true
	err := write(attribute{n.portDir(port, "addr_adrfam"), family}, attribute{n.portDir(port, "addr_trtype"), "tcp"},
		attribute{n.portDir(port, "addr_traddr"), n.address}, attribute{n.portDir(port, "addr_trsvcid"), strconv.Itoa(port)})
	if err != nil {
		return fmt.Errorf("nvmet port %d: %w", port, err)
	}
	if err := n.makeDir(n.subsystem(dummyNQN)); err != nil {
		return err
	}
	if err := os.Symlink(n.subsystem(dummyNQN), n.portDir(port, "subsystems", dummyNQN)); err != nil {
		return fmt.Errorf("nvmet port %d does not listen on %s: %w", port, n.address, err)
	}
	return nil
}

// Export makes subsystem, namespace and ACL, and links them to the port last:
// no host can connect before the ACL stands.
func (n *nvmet) Export(e export) error {
	if err := n.addPort(e.Port); err != nil {
		return err
	}
	left := e
	left.Hosts = n.listedHosts(e.NQN)
	if err := n.Withdraw(left); err != nil {
		return fmt.Errorf("subsystem %s of an earlier run: %w", e.NQN, err)
	}
	n.ours[e.NQN] = e
	err := n.makeDir(n.subsystem(e.NQN))
	if err == nil {
		err = n.fill(e)
	}
	if err == nil {
		err = os.Symlink(n.subsystem(e.NQN), n.portDir(e.Port, "subsystems", e.NQN))
	}
	if err != nil {
		return errors.Join(err, n.Withdraw(e))
	}
	return nil
}

func (n *nvmet) fill(e export) error {
	err := write(attribute{n.subsystem(e.NQN, "attr_serial"), serial(e.Slot)},
		attribute{n.subsystem(e.NQN, "attr_cntlid_min"), strconv.Itoa(n.cntlid)},
		attribute{n.subsystem(e.NQN, "attr_allow_any_host"), anyHost(e)})
	if err != nil {
		return err
	}
	n.cntlid += cntlidStep
	if n.cntlid > cntlidMax-cntlidStep {
		n.cntlid = 1
	}
	for _, host := range e.Hosts {
		if err := n.allow(e.NQN, host); err != nil {
			return err
		}
	}
	return n.namespace(e)
}

func anyHost(e export) string {
	if len(e.Hosts) == 0 {
		return "1"
	}
	return "0"
}

// serial has at most 20 characters; the end of a slot is what tells slots apart.
func serial(slot string) string { return slot[max(0, len(slot)-20):] }

// namespace enables namespace 1. A file on tmpfs has no direct I/O and needs
// buffered_io.
func (n *nvmet) namespace(e export) error {
	dir := n.subsystem(e.NQN, "namespaces", "1")
	if err := n.makeDir(dir); err != nil {
		return err
	}
	enable := attribute{filepath.Join(dir, "enable"), "1"}
	err := write(attribute{filepath.Join(dir, "device_path"), e.Path}, attribute{filepath.Join(dir, "device_uuid"), e.UUID}, enable)
	if errors.Is(err, syscall.EINVAL) {
		err = write(attribute{filepath.Join(dir, "buffered_io"), "1"}, enable)
	}
	return err
}

func (n *nvmet) allow(nqn, host string) error {
	if err := n.makeDir(n.path("hosts", host)); err != nil {
		return err
	}
	return os.Symlink(n.path("hosts", host), n.subsystem(nqn, "allowed_hosts", host))
}

// Update changes hosts and size in place. Taking a host off the list does not
// cut its session (measured on the real kernel).
func (n *nvmet) Update(before, after export) error {
	n.ours[after.NQN] = after
	if len(after.Hosts) == 0 {
		for _, host := range before.Hosts {
			if err := n.deny(after.NQN, host); err != nil {
				return err
			}
		}
	}
	// The kernel refuses a list of hosts while any host is allowed.
	if err := write(attribute{n.subsystem(after.NQN, "attr_allow_any_host"), anyHost(after)}); err != nil {
		return err
	}
	for _, host := range after.Hosts {
		if !slices.Contains(before.Hosts, host) {
			if err := n.allow(after.NQN, host); err != nil {
				return err
			}
		}
	}
	for _, host := range before.Hosts {
		if len(after.Hosts) > 0 && !slices.Contains(after.Hosts, host) {
			if err := n.deny(after.NQN, host); err != nil {
				return err
			}
		}
	}
	if before.Size == after.Size {
		return nil
	}
	return write(attribute{n.subsystem(after.NQN, "namespaces", "1", "revalidate_size"), "1"})
}

// deny takes a host off one list, and forgets it when no list has it: while
// one does, the kernel refuses.
func (n *nvmet) deny(nqn, host string) error {
	if err := removed(os.Remove(n.subsystem(nqn, "allowed_hosts", host))); err != nil {
		return err
	}
	err := n.rmdir(n.path("hosts", host))
	if errors.Is(err, syscall.EBUSY) {
		return nil
	}
	return removed(err)
}

// Withdraw unlinks first, which cuts sessions, then takes the subsystem down.
func (n *nvmet) Withdraw(e export) error {
	err := removed(os.Remove(n.portDir(e.Port, "subsystems", e.NQN)))
	for _, host := range e.Hosts {
		err = errors.Join(err, n.deny(e.NQN, host))
	}
	err = errors.Join(err, removed(n.rmdir(n.subsystem(e.NQN, "namespaces", "1"))), removed(n.rmdir(n.subsystem(e.NQN))))
	if err == nil {
		delete(n.ours, e.NQN)
	}
	return err
}

// Close withdraws everything, and removes the ports.
func (n *nvmet) Close() error {
	var err error
	for _, e := range n.ours {
		err = errors.Join(err, n.Withdraw(e))
	}
	for port := range n.ports {
		err = errors.Join(err, removed(os.Remove(n.portDir(port, "subsystems", dummyNQN))), removed(n.rmdir(n.portDir(port))))
	}
	return errors.Join(err, removed(n.rmdir(n.subsystem(dummyNQN))))
}

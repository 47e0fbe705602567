package nvme

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// The states of a controller that matter here (facts/nvme.md §1.4). Only live is usable.
const (
	stateLive     = "live"
	stateDeleting = "deleting" // also as "deleting (no IO)"
	stateDead     = "dead"
)

var (
	controllerName = regexp.MustCompile(`^nvme[0-9]+$`)
	diskName       = regexp.MustCompile(`^nvme[0-9]+n[0-9]+$`)
	pathName       = regexp.MustCompile(`^nvme([0-9]+)c[0-9]+n[0-9]+$`)
)

// tree reads sysfs. It holds no state: what it says is what is so now.
type tree struct {
	sys, dev string
	attrs    attributes
	calls    *calls
}

// controller is an NVMe/TCP controller of this machine, ours or not.
type controller struct {
	name, dir            string
	id                   host.DirectoryID // of dir: the name goes to others
	nqn, hostNQN, hostID string
	state                string
	portal               Portal
}

// same tells that both are one controller, not only two that had one name.
func (c controller) same(o controller) bool { return c.name == o.name && c.id == o.id }

// going tells that the controller is on its way out: the kernel no longer counts it as a
// connection, so neither do we when connecting.
func (c controller) going() bool {
	return strings.HasPrefix(c.state, stateDeleting) || c.state == stateDead
}

// controllers lists all NVMe/TCP controllers. One that is gone meanwhile is left out; whatever
// else cannot be read, a missing attribute too, is an error, since a list with a hole would make a
// disconnect look done.
func (t tree) controllers() ([]controller, error) { return t.list("") }

// list is controllers, limited to those of an NQN unless that is "".
func (t tree) list(nqn string) ([]controller, error) {
	var found []controller
	err := t.each(nqn, func(c controller) bool {
		found = append(found, c)
		return true
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// each gives one controller after the other, of an NQN unless that is "", as long as more are wanted. Of
// the others only one attribute is read, so that an attach does not grow slow with the number of volumes.
func (t tree) each(nqn string, take func(controller) (more bool)) error {
	entries, err := t.class("nvme")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !controllerName.MatchString(e.Name()) {
			continue
		}
		c, err := t.read(e.Name(), nqn)
		switch {
		case err == nil:
			if !take(c) {
				return nil
			}
		case !errors.Is(err, errGone) && !errors.Is(err, errNotMeant):
			return err
		}
	}
	return nil
}

// class lists a device class, which does not exist before its module is loaded.
func (t tree) class(name string) ([]os.DirEntry, error) {
	entries, err := os.ReadDir(filepath.Join(t.sys, "class", name))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(t.sys, "class")); err != nil {
			return nil, fmt.Errorf("sysfs is not there: %w", err)
		}
		return nil, nil
	}
	return entries, err
}

var errNotMeant = errors.New("not an NVMe/TCP controller, or one of another NQN")

// controller reads one controller by name.
func (t tree) controller(name string) (controller, error) { return t.read(name, "") }

func (t tree) read(name, nqn string) (controller, error) {
	c := controller{name: name, dir: t.controllerDir(name)}
	dir, err := open(c.dir)
	if err != nil {
		return c, err
	}
	defer dir.Close()
	if c.id, err = dir.ID(); err != nil {
		return c, err
	}
	if c.nqn, err = attribute(t.attrs, dir, "subsysnqn"); err != nil {
		return c, err
	}
	if nqn != "" && c.nqn != nqn {
		return c, errNotMeant
	}
	transport, err := attribute(t.attrs, dir, "transport")
	if err != nil {
		return c, err
	}
	if transport != "tcp" {
		return c, errNotMeant
	}
	var address string
	for _, a := range []struct {
		name string
		to   *string
	}{
		{"hostnqn", &c.hostNQN}, {"hostid", &c.hostID}, {"address", &address}, {"state", &c.state},
	} {
		if *a.to, err = attribute(t.attrs, dir, a.name); err != nil {
			return c, err
		}
	}
	c.portal = parseAddress(address)
	return c, nil
}

func (t tree) controllerDir(name string) string { return filepath.Join(t.sys, "class/nvme", name) }

// parseAddress reads "traddr=…,trsvcid=…[,src_addr=…]"; kernels differ in what separates and
// what follows.
func parseAddress(address string) Portal {
	var p Portal
	for _, field := range strings.FieldsFunc(address, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' }) {
		switch key, value, _ := strings.Cut(field, "="); key {
		case "traddr":
			p.Address = value
		case "trsvcid":
			if port, err := strconv.ParseUint(value, 10, 16); err == nil {
				p.Port = int(port)
			}
		}
	}
	return p
}

// of lists the controllers with exactly that NQN and host NQN.
func (t tree) of(nqn, hostNQN string) ([]controller, error) {
	same, err := t.list(nqn)
	if err != nil {
		return nil, fmt.Errorf("list NVMe controllers: %w", err)
	}
	return slices.DeleteFunc(same, func(c controller) bool { return c.nqn != nqn || c.hostNQN != hostNQN }), nil
}

package nvme

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// sectorBytes is the unit of the size attribute, whatever the device's own block size is.
const sectorBytes = 512

// disk is a block device that /dev has a node for.
type disk struct {
	name, dir string
	path      string // the directory of what shows it below the controller: the hidden path of a head, or its own
	shared    bool   // a multipath head, which belongs to the subsystem and not to one controller
}

// disks lists the block devices behind a controller, errGone when there is no such controller
// any more. With native multipath the controller holds only hidden path nodes; their head, the
// usable device, hangs off the subsystem (facts/nvme.md §1.4, vm.md "What the kernel did" 3). A
// path without a head is an error, not no disk: whether something uses the head is unknown then.
func (t tree) disks(c controller) ([]disk, error) {
	dir, err := open(c.dir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := namesOf(dir, pathName, diskName)
	if err != nil {
		return nil, gone(c.dir, err)
	}
	var disks []disk
	for _, name := range names {
		found, err := t.disksOf(c, dir, name)
		if err != nil {
			return nil, err
		}
		disks = append(disks, found...)
	}
	return disks, nil
}

// disksOf are the devices of one name in a controller's directory: itself, or if it is hidden its heads. There
// are none, without an error, when it is gone.
func (t tree) disksOf(c controller, controllerDir *host.Directory, name string) ([]disk, error) {
	dir, err := openBelow(controllerDir, name)
	if errors.Is(err, errGone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	hidden, err := t.hidden(dir)
	if err != nil {
		return nil, err
	}
	if !hidden && !pathName.MatchString(name) {
		return []disk{{name: name, dir: dir.Path(), path: dir.Path()}}, nil
	}
	heads, err := t.heads(c, controllerDir, dir)
	if err != nil {
		return nil, fmt.Errorf("the device of path %s: %w", name, err)
	}
	return heads, nil
}

// hidden devices have no node in /dev. Kernels without the attribute have no hidden devices.
func (t tree) hidden(dir *host.Directory) (bool, error) {
	text, err := t.attrs.Read(dir, "hidden")
	if vanished(err) {
		return false, nil
	}
	return text == "1", err
}

var errNoHead error = errUnusable{errors.New("the controller's subsystem has no block device for it yet")}

// heads finds the usable devices of a hidden path: those of the controller's subsystem with
// the same namespace. Names would say it too, but names have been known to disagree. It is
// errNoHead when there is none, and none without an error when the path itself is gone.
func (t tree) heads(c controller, controllerDir, path *host.Directory) ([]disk, error) {
	want, err := t.namespace(path)
	if errors.Is(err, errGone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	dir, err := t.subsystem(c, controllerDir, filepath.Base(path.Path()))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := namesOf(dir, diskName)
	if err != nil {
		return nil, err
	}
	var heads []disk
	for _, name := range names {
		same, err := t.heading(dir, name, want)
		if err != nil {
			return nil, err
		}
		if same {
			heads = append(heads, disk{name: name, dir: filepath.Join(dir.Path(), name), path: path.Path(), shared: true})
		}
	}
	if len(heads) == 0 {
		return nil, errNoHead
	}
	return heads, nil
}

// heading tells whether a device in a subsystem's directory is a usable one of the namespace.
func (t tree) heading(subsystem *host.Directory, name string, want namespace) (bool, error) {
	dir, err := openBelow(subsystem, name)
	if errors.Is(err, errGone) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer dir.Close()
	return t.isHead(dir, want)
}

func (t tree) isHead(dir *host.Directory, want namespace) (bool, error) {
	hidden, err := t.hidden(dir)
	if err != nil || hidden {
		return false, err
	}
	got, err := t.namespace(dir)
	if errors.Is(err, errGone) {
		return false, nil
	}
	return got == want, err
}

// namespace is what a path and its head have in common.
type namespace struct{ nsid, wwid string }

func (t tree) namespace(dir *host.Directory) (namespace, error) {
	nsid, err := attribute(t.attrs, dir, "nsid")
	if err != nil {
		return namespace{}, err
	}
	wwid, err := attribute(t.attrs, dir, "wwid")
	return namespace{nsid: nsid, wwid: wwid}, err
}

// subsystem opens the directory of the controller's subsystem; errNoHead where there is none. The name of
// a path has the subsystem's number (drivers/nvme/host/multipath.c, nvme_mpath_set_disk_name), so that one is
// asked first, and the others only if it is not the one: there is a subsystem for each volume of the node.
func (t tree) subsystem(c controller, controllerDir *host.Directory, path string) (*host.Directory, error) {
	if m := pathName.FindStringSubmatch(path); m != nil {
		if dir, err := t.subsystemOf(c, controllerDir, "nvme-subsys"+m[1]); dir != nil && err == nil {
			return dir, nil
		}
	}
	entries, err := t.class("nvme-subsystem")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if dir, err := t.subsystemOf(c, controllerDir, e.Name()); dir != nil || err != nil {
			return dir, err
		}
	}
	return nil, errNoHead
}

// subsystemOf opens the directory of a subsystem if the controller belongs to it; nil if not. A link to a
// controller that is gone may dangle (vm.md "What the kernel did" 6).
func (t tree) subsystemOf(c controller, controllerDir *host.Directory, name string) (_ *host.Directory, err error) {
	dir, err := open(filepath.Join(t.sys, "class/nvme-subsystem", name))
	if errors.Is(err, errGone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	is, err := t.memberOf(c, controllerDir, dir)
	if !is || err != nil {
		dir.Close()
		return nil, err
	}
	return dir, nil
}

func (t tree) memberOf(c controller, controllerDir, subsystem *host.Directory) (bool, error) {
	nqn, err := attribute(t.attrs, subsystem, "subsysnqn")
	if errors.Is(err, errGone) || err == nil && nqn != c.nqn {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return subsystem.Leads(c.name, controllerDir)
}

// verify proves that the node in /dev is the disk sysfs shows: same number, same size, by an
// open descriptor (facts/nvme.md §4 rule 1).
func (t tree) verify(ctx context.Context, d disk) (Device, error) {
	dir, err := open(d.dir)
	if err != nil {
		return Device{}, err
	}
	defer dir.Close()
	num, err := number(t.attrs, dir)
	if err != nil {
		return Device{}, err
	}
	path := filepath.Join(t.dev, d.name)
	opened, size, err := t.sizes(ctx, path, dir)
	switch {
	case err != nil:
		return Device{}, err
	case opened.num != num:
		return Device{}, fmt.Errorf("%s is device %s, but sysfs says that %s is %s", path, opened.num, d.name, num)
	case opened.size != size:
		return Device{}, fmt.Errorf("%s has %d bytes, but sysfs says %d", path, opened.size, size)
	case size == 0:
		return Device{}, errUnusable{fmt.Errorf("%s has no size yet", path)}
	}
	wwid, err := t.attrs.Read(dir, "wwid")
	if err != nil && !vanished(err) {
		return Device{}, err
	}
	return Device{Path: path, Num: num, Size: size, Wwid: wwid, dir: d.dir, path: d.path}, nil
}

// sizes asks the open node and sysfs. The volume may grow between the two looks: then a second pair agrees
// (seen on Linux 6.12, NodeExpandVolume right after the array had grown).
func (t tree) sizes(ctx context.Context, path string, dir *host.Directory) (opened identity, shown uint64, err error) {
	for range 2 {
		if shown, err = size(t.attrs, dir); err != nil {
			return opened, 0, err
		}
		if opened, err = t.calls.identify(ctx, path); err != nil {
			return opened, 0, gone(dir.Path(), err)
		}
		if opened.size == shown {
			break
		}
	}
	return opened, shown, nil
}

var errNoDisk error = errUnusable{errors.New("the controller has no block device yet")}

// device is the one verified block device behind a live controller, errUnusable when there is
// none. More than one namespace is no volume of ours, and which of them was meant cannot be told.
func (t tree) device(ctx context.Context, c controller) (Device, bool, error) {
	if c.state != stateLive {
		return Device{}, false, errUnusable{fmt.Errorf("controller %s is %s", c.name, c.state)}
	}
	disks, err := t.disks(c)
	if err != nil {
		return Device{}, false, err
	}
	switch len(disks) {
	case 0:
		return Device{}, false, errNoDisk
	case 1:
	default:
		return Device{}, false, errUnusable{fmt.Errorf("controller %s has %d block devices (%s, %s …), where one volume has one namespace",
			c.name, len(disks), disks[0].name, disks[1].name)}
	}
	d, err := t.verify(ctx, disks[0])
	if err != nil {
		return Device{}, false, err
	}
	d.Controller = c.name
	return d, disks[0].shared, nil
}

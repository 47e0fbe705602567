package nvme

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
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
	entries, err := devices(c.dir)
	if err != nil {
		return nil, err
	}
	var disks []disk
	for _, e := range entries {
		dir := filepath.Join(c.dir, e.Name())
		isPath := pathName.MatchString(e.Name())
		if !isPath && !diskName.MatchString(e.Name()) {
			continue
		}
		hidden, err := t.hidden(dir)
		if err != nil {
			return nil, err
		}
		if !isPath && !hidden {
			disks = append(disks, disk{name: e.Name(), dir: dir, path: dir})
			continue
		}
		heads, err := t.heads(c, e.Name())
		if err != nil {
			return nil, fmt.Errorf("the device of path %s: %w", e.Name(), err)
		}
		disks = append(disks, heads...)
	}
	return disks, nil
}

// hidden devices have no node in /dev. Kernels without the attribute have no hidden devices.
func (t tree) hidden(dir string) (bool, error) {
	text, err := t.attrs.Read(filepath.Join(dir, "hidden"))
	if vanished(err) {
		return false, nil
	}
	return text == "1", err
}

var errNoHead error = errUnusable{errors.New("the controller's subsystem has no block device for it yet")}

// heads finds the usable devices of a hidden path: those of the controller's subsystem with
// the same namespace. Names would say it too, but names have been known to disagree. It is
// errNoHead when there is none, and none without an error when the path itself is gone.
func (t tree) heads(c controller, path string) ([]disk, error) {
	want, err := t.namespace(filepath.Join(c.dir, path))
	if errors.Is(err, errGone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	dir, err := t.subsystem(c, path)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var heads []disk
	for _, e := range entries {
		head := disk{name: e.Name(), dir: filepath.Join(dir, e.Name()), path: filepath.Join(c.dir, path), shared: true}
		same, err := t.heading(head, want)
		if err != nil {
			return nil, err
		}
		if same {
			heads = append(heads, head)
		}
	}
	if len(heads) == 0 {
		return nil, errNoHead
	}
	return heads, nil
}

// heading tells whether d is a usable device of the namespace.
func (t tree) heading(d disk, want namespace) (bool, error) {
	if !diskName.MatchString(d.name) {
		return false, nil
	}
	hidden, err := t.hidden(d.dir)
	if err != nil || hidden {
		return false, err
	}
	got, err := t.namespace(d.dir)
	if errors.Is(err, errGone) {
		return false, nil
	}
	return got == want, err
}

// namespace is what a path and its head have in common.
type namespace struct{ nsid, wwid string }

func (t tree) namespace(dir string) (namespace, error) {
	nsid, err := attribute(t.attrs, dir, "nsid")
	if err != nil {
		return namespace{}, err
	}
	wwid, err := attribute(t.attrs, dir, "wwid")
	return namespace{nsid: nsid, wwid: wwid}, err
}

// subsystem finds the directory of the controller's subsystem, errNoHead where there is none. The name of
// a path has the subsystem's number (drivers/nvme/host/multipath.c, nvme_mpath_set_disk_name), so that one is
// asked first, and the others only if it is not the one: there is a subsystem for each volume of the node.
func (t tree) subsystem(c controller, path string) (string, error) {
	self, err := os.Stat(c.dir)
	if err != nil {
		return "", gone(c.dir, err)
	}
	if m := pathName.FindStringSubmatch(path); m != nil {
		dir := filepath.Join(t.sys, "class/nvme-subsystem", "nvme-subsys"+m[1])
		if is, err := t.memberOf(c, self, dir); is && err == nil {
			return dir, nil
		}
	}
	entries, err := t.class("nvme-subsystem")
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		dir := filepath.Join(t.sys, "class/nvme-subsystem", e.Name())
		is, err := t.memberOf(c, self, dir)
		if err != nil {
			return "", err
		}
		if is {
			return dir, nil
		}
	}
	return "", errNoHead
}

// memberOf tells whether the controller, whose directory self is, belongs to a subsystem. A link to a
// controller that is gone may dangle (vm.md "What the kernel did" 6).
func (t tree) memberOf(c controller, self os.FileInfo, subsystem string) (bool, error) {
	nqn, err := attribute(t.attrs, subsystem, "subsysnqn")
	if errors.Is(err, errGone) || err == nil && nqn != c.nqn {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	member, err := os.Stat(filepath.Join(subsystem, c.name))
	if err != nil && !vanished(err) {
		return false, err
	}
	return err == nil && os.SameFile(member, self), nil
}

// verify proves that the node in /dev is the disk sysfs shows: same number, same size, by an
// open descriptor (facts/nvme.md §4 rule 1).
func (t tree) verify(ctx context.Context, d disk) (Device, error) {
	num, err := number(t.attrs, d.dir)
	if err != nil {
		return Device{}, err
	}
	path := filepath.Join(t.dev, d.name)
	opened, size, err := t.sizes(ctx, path, d.dir)
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
	wwid, err := t.attrs.Read(filepath.Join(d.dir, "wwid"))
	if err != nil && !vanished(err) {
		return Device{}, err
	}
	return Device{Path: path, Num: num, Size: size, Wwid: wwid, dir: d.dir, path: d.path}, nil
}

// sizes asks the open node and sysfs. The volume may grow between the two looks: then a second pair agrees
// (seen on Linux 6.12, NodeExpandVolume right after the array had grown).
func (t tree) sizes(ctx context.Context, path, dir string) (opened identity, size uint64, err error) {
	for range 2 {
		if size, err = t.size(dir); err != nil {
			return opened, 0, err
		}
		if opened, err = t.calls.identify(ctx, path); err != nil {
			return opened, 0, gone(dir, err)
		}
		if opened.size == size {
			break
		}
	}
	return opened, size, nil
}

func (t tree) size(dir string) (uint64, error) {
	text, err := attribute(t.attrs, dir, "size")
	if err != nil {
		return 0, err
	}
	sectors, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("size of %s: %w", dir, err)
	}
	return sectors * sectorBytes, nil
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

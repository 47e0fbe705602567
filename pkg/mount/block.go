package mount

import (
	"fmt"
	"path"
	"slices"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// bindNode publishes a raw block device: its node is bound onto a file. Not mknod, whose number
// could come to mean another disk.
func (m *Mounter) bindNode(r BindRequest) (noop bool, err error) {
	device, err := m.devices.Open(r.Source, false, false) // keeps the name until it is bound
	if err != nil {
		return false, fault.E("open", fault.Unavailable, err)
	}
	defer device.Close()
	if _, err := verify(device, r.Num); err != nil {
		return false, err
	}
	same := func(there host.MountPoint) error { return m.sameNode(there, r) }
	there, found, err := m.At(r.Target)
	if err != nil {
		return false, err
	}
	if found {
		return true, same(there)
	}
	if err := m.setDeviceMode(r); err != nil {
		return false, err
	}
	created, err := ensureFile(r.Target)
	if err != nil {
		return false, fault.E("make the target", fault.Precondition, err)
	}
	return false, m.bindOnto(r, created, same)
}

// sameNode says why what is bound at the target is not the device in the mode that is asked for.
func (m *Mounter) sameNode(there host.MountPoint, r BindRequest) error {
	info, err := m.nodeAt(r.Target)
	if err != nil {
		return fault.E("look at the target", fault.Precondition, fmt.Errorf("%w: %s of %s is mounted there; unpublish it first", err, there.Root, there.Source))
	}
	if info.Num != r.Num {
		return fault.Errorf("", fault.Precondition, "device %s is published there, not %s; unpublish it first", info.Num, r.Num)
	}
	if info.ReadOnly != r.ReadOnly {
		return fault.Errorf("", fault.Precondition, "the device is %s, not %s; unpublish it first", mode(info.ReadOnly), mode(r.ReadOnly))
	}
	return sameMode(there, r)
}

// setDeviceMode makes the device read-only or writable, unless another target of this node
// has been promised the contrary.
func (m *Mounter) setDeviceMode(r BindRequest) error {
	info, err := m.nodeAt(r.Source)
	if err != nil {
		return fault.E("", fault.Unavailable, err)
	}
	if info.ReadOnly == r.ReadOnly {
		return nil
	}
	others, err := m.nodesOf(r)
	if err != nil {
		return err
	}
	if len(others) > 0 {
		return fault.Errorf("", fault.Precondition, "the device is published %s at %s, and a raw block device is read-only for all "+
			"on a node or for none", mode(info.ReadOnly), others[0].Path)
	}
	if err := m.devices.SetReadOnly(r.Source, r.Num, r.ReadOnly); err != nil {
		return fault.E("make the device "+mode(r.ReadOnly), fault.Unavailable, err)
	}
	if info, err = m.nodeAt(r.Source); err == nil && info.ReadOnly != r.ReadOnly {
		return fault.Errorf("", fault.Precondition, "the device stays %s: the array exports it so", mode(info.ReadOnly))
	}
	return fault.E("", fault.Unavailable, err)
}

// nodesOf are the places where the node Source is bound.
func (m *Mounter) nodesOf(r BindRequest) ([]host.MountPoint, error) {
	devFS := []string{"devtmpfs", "tmpfs"} // /dev of a host, of a container
	name := path.Base(r.Source)
	candidates, err := m.mountsWhere("look where "+r.Source+" is published", func(point host.MountPoint) bool {
		return slices.Contains(devFS, point.FSType) && path.Base(point.Root) == name && point.Path != r.Source
	})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(candidates, func(point host.MountPoint) bool {
		info, err := m.nodeAt(point.Path)
		return err != nil || info.Num != r.Num
	}), nil
}

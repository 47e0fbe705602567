package mount

import (
	"context"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// bindNode publishes a raw block device: its node is bound onto a file. The node is a number, as one
// made by mknod would be: it is the volume's as long as the device is attached.
func (m *Mounter) bindNode(ctx context.Context, r BindRequest) (noop bool, err error) {
	device, info, err := m.pin(ctx, r.Source, r.Num, r.Live)
	if err != nil {
		return false, err
	}
	defer device.Close()
	there, found, err := m.At(r.Target)
	if err != nil {
		return false, err
	}
	same := func(there host.MountPoint) error { return sameNode(there, device, r) }
	if found {
		return m.adopt(there, r, same)
	}
	if err := m.setDeviceMode(ctx, device, info, r); err != nil {
		return false, err
	}
	created, err := ensureFile(r.Target)
	if err != nil {
		return false, fault.E("make the target", fault.Precondition, err)
	}
	return false, m.bindOnto(ctx, r, created, same)
}

// sameNode says why what is bound at the target is not the device in the mode that is asked for.
func sameNode(there host.MountPoint, device host.Device, r BindRequest) error {
	if num, ok := there.Node(); !ok || num != r.Num {
		return fault.Errorf("", fault.Precondition, "something else is mounted there: %s of %s (device node %s), not the node of device %s; unpublish it first",
			there.Root, there.Source, num, r.Num)
	}
	info, err := verify(device, r.Num)
	if err != nil {
		return err
	}
	if info.ReadOnly != r.ReadOnly {
		return fault.Errorf("", fault.Precondition, "the device is %s, not %s; unpublish it first", mode(info.ReadOnly), mode(r.ReadOnly))
	}
	return nil
}

// setDeviceMode makes the device, which is open, read-only or writable, unless another target of
// this node has been promised the contrary.
func (m *Mounter) setDeviceMode(ctx context.Context, device host.Device, info host.BlockInfo, r BindRequest) error {
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
	err = m.deviceCalls.do(ctx, r.Source, func() error { return m.devices.SetReadOnly(r.Source, r.Num, r.ReadOnly) })
	if err != nil {
		return fault.E("make the device "+mode(r.ReadOnly), fault.Unavailable, err)
	}
	if info, err = verify(device, r.Num); err == nil && info.ReadOnly != r.ReadOnly {
		return fault.Errorf("", fault.Precondition, "the device stays %s: the array exports it so", mode(info.ReadOnly))
	}
	return err
}

// nodesOf are the other places where the node of the device is bound.
func (m *Mounter) nodesOf(r BindRequest) ([]host.MountPoint, error) {
	return m.mountsWhere("look where "+r.Source+" is published", func(point host.MountPoint) bool {
		num, ok := point.Node()
		return ok && num == r.Num && point.Path != r.Source
	})
}

package mount

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// MountRequest asks for the file system of a device to be mounted.
type MountRequest struct {
	Device   string      // path of the device node
	Num      host.DevNum // what the device must be
	Target   string
	FSType   string // "" is DefaultFSType
	Options  []string
	ReadOnly bool
	Live     Alive
}

// Mount mounts the device at Target. What is mounted there already is verified: the same device,
// file system and mode is a noop, anything else is refused. It never stacks a mount on another.
// Whose the device is, Live is asked before and after the mount, while the device is held open.
func (m *Mounter) Mount(ctx context.Context, r MountRequest) (noop bool, err error) {
	op := "mount " + r.Device + " at " + r.Target
	if r.FSType, err = fsTypeOf(op, r.FSType); err != nil {
		return false, err
	}
	if r.Options, r.ReadOnly, err = splitOptions(op, r.Options, r.ReadOnly); err != nil {
		return false, err
	}
	if r.Target, err = m.Canonical(r.Target); err != nil {
		return false, fault.Wrap(op, err)
	}
	ctx, span := telemetry.Start(ctx, "mount", telemetry.Internal, telemetry.FilesystemType(r.FSType),
		telemetry.FilesystemMode(mode(r.ReadOnly)), telemetry.Mountpoint(r.Target))
	start := time.Now()
	noop, err = m.onTable(ctx, r.Target, func() (bool, error) { return m.mountOnce(ctx, r) })
	err = fault.Wrap(op, err)
	span.End(err)
	if !noop || err != nil {
		m.metrics.RecordMountOp(ctx, telemetry.MountOpMount, err, time.Since(start))
	}
	return noop, err
}

// onTable runs call, which mounts, after whatever still goes on at target. What the kernel has
// begun when ctx ends goes on; the next call waits for it and finds what became of it.
func (m *Mounter) onTable(ctx context.Context, target string, call func() (noop bool, err error)) (bool, error) {
	noop := false
	err := m.tableCalls.do(ctx, target, func() (err error) {
		noop, err = call()
		return err
	})
	if errors.Is(err, errHangs) { // call may still be writing to noop
		return false, fault.E("", fault.Unavailable, err)
	}
	return noop && err == nil, err
}

func mode(readOnly bool) string {
	if readOnly {
		return "ro"
	}
	return "rw"
}

func (m *Mounter) mountOnce(ctx context.Context, r MountRequest) (noop bool, err error) {
	there, found, err := m.At(r.Target)
	if err != nil {
		return false, err
	}
	if found {
		if err := sameMount(there, r); err != nil {
			return false, err
		}
		return true, r.Live.ask(ctx) // the mount keeps the number from other disks
	}
	device, info, err := m.pin(ctx, r.Device, r.Num, r.Live)
	if err != nil {
		return false, err
	}
	defer device.Close()
	if info.ReadOnly && !r.ReadOnly {
		return false, fault.Errorf("", fault.Precondition, "the device is read-only; ask for the volume read-only")
	}
	created, err := ensureDir(r.Target)
	if err != nil {
		return false, fault.E("make the mount point", fault.Precondition, err)
	}
	if err := ctx.Err(); err != nil { // the caller has gone: mount nothing behind its back
		return false, m.forget(err, r.Target, created)
	}
	if err := m.kernel.Mount(r.Device, r.Target, r.FSType, mountOptions(r, info.ReadOnly)); err != nil {
		return false, m.forget(mountError(r, err), r.Target, created)
	}
	same := func(there host.MountPoint) error { return sameMount(there, r) }
	return false, m.confirm(ctx, r.Target, created, same, r.Live)
}

// sameMount says why a mount is not the one that is asked for.
func sameMount(there host.MountPoint, r MountRequest) error {
	switch {
	case there.Dev != r.Num || there.Root != "/":
		return fault.Errorf("", fault.Precondition, "another file system is mounted there: %s of device %s (%s), not device %s; "+
			"unstage it first", there.Root, there.Dev, there.Source, r.Num)
	case there.FSType != r.FSType:
		return fault.Errorf("", fault.Precondition, "the device is mounted there as %s, not as %s", there.FSType, r.FSType)
	case there.ReadOnly() != r.ReadOnly:
		return fault.Errorf("", fault.Precondition, "the device is mounted there %s, not %s; if it turned read-only by itself its file "+
			"system met an error: unstage it and look into the kernel's log", mode(there.ReadOnly()), mode(r.ReadOnly))
	default:
		return nil
	}
}

// mountOptions adds what this driver always needs. Clones of an xfs share its UUID, which the
// kernel otherwise refuses twice on one node; and an ext4 goes on writing after it has met an
// error unless it is told not to (mke2fs makes it so).
func mountOptions(r MountRequest, deviceReadOnly bool) []string {
	options := slices.Clone(r.Options)
	switch r.FSType {
	case xfs:
		options = append(options, "nouuid")
	case ext4:
		options = append(options, "errors=remount-ro")
	}
	if !r.ReadOnly {
		return options
	}
	options = append(options, "ro")
	switch {
	case deviceReadOnly && r.FSType == xfs: // a log that cannot be replayed must not be asked for
		options = append(options, "norecovery")
	case deviceReadOnly && r.FSType == ext4:
		options = append(options, "noload")
	}
	return options
}

// mountError says what the errno of mount(2) means and what can be done.
func mountError(r MountRequest, err error) error {
	switch {
	case errors.Is(err, unix.EBUSY):
		return fault.E("", fault.MountBusy, fmt.Errorf("%w: another program holds the device, or it is mounted there already", err))
	case errors.Is(err, unix.EEXIST) && r.FSType == btrfs: // fs/btrfs/volumes.c, device_list_add
		return fault.E("", fault.MountBusy, fmt.Errorf("%w: somebody on this node still has a Btrfs with the same UUID: a container with a dead copy of "+
			"this volume, which ends with its pod, or another copy of the volume", err))
	case errors.Is(err, unix.ENODEV):
		return fault.E("", fault.Precondition, fmt.Errorf("%w: the kernel has no %s (modprobe %s)", err, r.FSType, r.FSType))
	case errors.Is(err, unix.EUCLEAN):
		return fault.E("", fault.FSCorrupt, fmt.Errorf("%w: the file system is damaged; repair it by hand (%s)", err, repairHint(r)))
	case errors.Is(err, unix.EIO), errors.Is(err, unix.ENXIO):
		return fault.E("", fault.Unavailable, fmt.Errorf("%w: the device does not answer", err))
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EROFS):
		return fault.E("", fault.Precondition, fmt.Errorf("%w: the device is read-only; ask for the volume read-only", err))
	default:
		return fault.E("", fault.MountFailed, fmt.Errorf("%w: file system %s, options %q; the kernel's log says more", err, r.FSType, r.Options))
	}
}

func repairHint(r MountRequest) string {
	switch r.FSType {
	case xfs:
		return "xfs_repair " + r.Device
	case btrfs:
		return "btrfs check " + r.Device
	default:
		return "e2fsck -f " + r.Device
	}
}

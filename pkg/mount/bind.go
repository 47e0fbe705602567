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

// BindRequest asks for a staged volume to appear at Target.
type BindRequest struct {
	Source   string      // the staging directory; with Block the device node
	Target   string      // a directory; with Block a file
	Num      host.DevNum // the device that must be behind Source
	Block    bool
	ReadOnly bool
	// Options are those the volume was staged with. The bind mount has the flags of the staging
	// mount; nosuid, nodev and noexec are refused if that lacks them.
	Options []string
}

// Bind publishes a volume. It makes Target where it is missing, verifies what is bound there
// already (a noop when it is the same device in the same mode) and refuses everything else.
//
// Read-only raw block is a property of the device and not of the mount: it is for all targets on
// this node or for none.
func (m *Mounter) Bind(ctx context.Context, r BindRequest) (noop bool, err error) {
	op := "bind " + r.Source + " to " + r.Target
	options, readOnly, err := splitOptions(op, r.Options, r.ReadOnly)
	if err != nil {
		return false, err
	}
	r.Options, r.ReadOnly = options, readOnly
	ctx, span := telemetry.Start(ctx, "mount", telemetry.Internal, telemetry.FilesystemMode(mode(r.ReadOnly)), telemetry.Mountpoint(r.Target))
	start := time.Now()
	bind := m.bindDir
	if r.Block {
		bind = m.bindNode
	}
	noop, err = m.onTable(ctx, r.Target, func() (bool, error) { return bind(r) })
	err = fault.Wrap(op, err)
	span.End(err)
	if !noop || err != nil {
		m.metrics.RecordMountOp(ctx, telemetry.MountOpBind, err, time.Since(start))
	}
	return noop, err
}

func (m *Mounter) bindDir(r BindRequest) (noop bool, err error) {
	source, err := m.staged(r)
	if err != nil {
		return false, err
	}
	there, found, err := m.At(r.Target)
	if err != nil {
		return false, err
	}
	if found {
		return true, sameBind(there, source, r)
	}
	created, err := ensureEmptyDir(r.Target)
	if err != nil {
		return false, fault.E("make the target", fault.Precondition, err)
	}
	return false, m.bindOnto(r, created, func(there host.MountPoint) error { return sameBind(there, source, r) })
}

// staged is the mount at Source, if it can give what is asked for.
func (m *Mounter) staged(r BindRequest) (host.MountPoint, error) {
	source, found, err := m.At(r.Source)
	switch {
	case err != nil:
		return source, err
	case !found:
		return source, fault.Errorf("", fault.Precondition, "nothing is mounted at %s: stage the volume first", r.Source)
	case source.Dev != r.Num:
		return source, fault.Errorf("", fault.StaleMount, "at %s is device %s (%s), the volume is %s: unstage it and stage it again",
			r.Source, source.Dev, source.Source, r.Num)
	case source.ReadOnly() && !r.ReadOnly:
		return source, fault.Errorf("", fault.Precondition, "the volume is staged read-only and cannot be published writable")
	}
	for _, flag := range []string{"nosuid", "nodev", "noexec"} {
		if slices.Contains(r.Options, flag) && !slices.Contains(source.Options, flag) {
			return source, fault.Errorf("", fault.Precondition, "mount option %s: the volume was staged without it; unstage it first", flag)
		}
	}
	return source, nil
}

func sameBind(there, source host.MountPoint, r BindRequest) error {
	if there.Dev != source.Dev || there.Root != source.Root || there.FSType != source.FSType {
		return fault.Errorf("", fault.Precondition, "something else is mounted there: %s of device %s (%s); unpublish it first",
			there.Root, there.Dev, there.Source)
	}
	return sameMode(there, r)
}

func sameMode(there host.MountPoint, r BindRequest) error {
	if there.ReadOnly() != r.ReadOnly {
		return fault.Errorf("", fault.Precondition, "the volume is published there %s, not %s; unpublish it first",
			mode(there.ReadOnly()), mode(r.ReadOnly))
	}
	return nil
}

// bindOnto binds and verifies; on failure it leaves nothing of its own behind.
func (m *Mounter) bindOnto(r BindRequest, created bool, same func(host.MountPoint) error) error {
	err := m.kernel.Bind(r.Source, r.Target, r.ReadOnly)
	if err != nil {
		class := fault.Class(fault.MountFailed)
		if errors.Is(err, unix.EIO) || errors.Is(err, unix.ENXIO) {
			class = fault.Unavailable
		}
		return errors.Join(fault.E("", class, err), m.forget(r.Target, created))
	}
	there, found, err := m.At(r.Target)
	if err == nil && !found {
		err = fault.Errorf("", fault.MountFailed, "the kernel took the bind mount, but it is not in the mount table")
	}
	if err == nil {
		err = same(there)
	}
	if err != nil {
		return errors.Join(err, m.kernel.Unmount(r.Target), m.forget(r.Target, created))
	}
	return nil
}

// forget removes a target that this call made, unless something is mounted there after all.
func (m *Mounter) forget(target string, created bool) error {
	if _, found, err := m.At(target); !created || found || err != nil {
		return err
	}
	_, err := removeTarget(target)
	return err
}

// nodeAt tells the device number of a node. It looks at the node only.
func (m *Mounter) nodeAt(path string) (host.BlockInfo, error) {
	device, err := m.devices.Open(path, false, false)
	if err != nil {
		return host.BlockInfo{}, err
	}
	defer device.Close()
	info, err := device.Info()
	if err != nil {
		return info, fmt.Errorf("%s: %w", path, err)
	}
	return info, nil
}

package mount

import (
	"context"
	"errors"
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
	Live    Alive
}

// Bind publishes a volume. It makes Target where it is missing, verifies what is bound there
// already (a noop when it is the same device in the same mode) and refuses everything else.
// Whose the device is, Live is asked before and after the bind, while the device is held: a raw
// block device by a descriptor, a file system by its staging mount.
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
	if r.Target, err = m.Canonical(r.Target); err != nil {
		return false, fault.Wrap(op, err)
	}
	ctx, span := telemetry.Start(ctx, "mount", telemetry.Internal, telemetry.FilesystemMode(mode(r.ReadOnly)), telemetry.Mountpoint(r.Target))
	start := time.Now()
	bind := m.bindDir
	if r.Block {
		bind = m.bindNode
	}
	noop, err = m.onTable(ctx, r.Target, func() (bool, error) { return bind(ctx, r) })
	err = fault.Wrap(op, err)
	span.End(err)
	if !noop || err != nil {
		m.metrics.RecordMountOp(ctx, telemetry.MountOpBind, err, time.Since(start))
	}
	return noop, err
}

func (m *Mounter) bindDir(ctx context.Context, r BindRequest) (noop bool, err error) {
	source, err := m.staged(r)
	if err != nil {
		return false, err
	}
	if err := r.Live.ask(ctx); err != nil {
		return false, err
	}
	r.Source = source.Path
	same := func(there host.MountPoint) error { return sameBind(there, source) }
	there, found, err := m.At(r.Target)
	if err != nil {
		return false, err
	}
	if found {
		return m.adopt(there, r, same)
	}
	created, err := ensureEmptyDir(r.Target)
	if err != nil {
		return false, fault.E("make the target", fault.Precondition, err)
	}
	return false, m.bindOnto(ctx, r, created, same)
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

func sameBind(there, source host.MountPoint) error {
	if there.Dev != source.Dev || there.Root != source.Root || there.FSType != source.FSType {
		return fault.Errorf("", fault.Precondition, "something else is mounted there: %s of device %s (%s); unpublish it first",
			there.Root, there.Dev, there.Source)
	}
	return nil
}

func sameMode(there host.MountPoint, r BindRequest) error {
	if there.ReadOnly() != r.ReadOnly {
		return fault.Errorf("", fault.Precondition, "the volume is published there %s, not %s; unpublish it first",
			mode(there.ReadOnly()), mode(r.ReadOnly))
	}
	return nil
}

// adopt takes a bind mount that is there for the one that is asked for, if it is. One that is
// writable and should not be is what a crash between the two halves of a read-only bind leaves
// (mount(2) has no single call): the second half is made up for.
func (m *Mounter) adopt(there host.MountPoint, r BindRequest, same func(host.MountPoint) error) (noop bool, err error) {
	if err := same(there); err != nil {
		return false, err
	}
	if !r.ReadOnly || there.ReadOnly() {
		return true, sameMode(there, r)
	}
	if err := m.kernel.Mount("", r.Target, "", there.ReadOnlyRemount()); err != nil {
		class := fault.Class(fault.MountFailed)
		if errors.Is(err, unix.EBUSY) {
			class = fault.MountBusy
		}
		return false, fault.E("make the mount that is there read-only", class, err)
	}
	if there, _, err = m.At(r.Target); err != nil {
		return false, err
	}
	return false, sameMode(there, r)
}

// bindOnto binds and verifies; on failure it leaves nothing of its own behind.
func (m *Mounter) bindOnto(ctx context.Context, r BindRequest, created bool, same func(host.MountPoint) error) error {
	if err := ctx.Err(); err != nil { // the caller has gone: mount nothing behind its back
		return m.forget(err, r.Target, created)
	}
	if err := m.kernel.Bind(r.Source, r.Target, r.ReadOnly); err != nil {
		class := fault.Class(fault.MountFailed)
		if errors.Is(err, unix.EIO) || errors.Is(err, unix.ENXIO) {
			class = fault.Unavailable
		}
		return m.forget(fault.E("", class, err), r.Target, created)
	}
	asked := func(there host.MountPoint) error {
		if err := same(there); err != nil {
			return err
		}
		return sameMode(there, r)
	}
	return m.confirm(ctx, r.Target, created, asked, r.Live)
}

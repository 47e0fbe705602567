package mount

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// GrowRequest asks for the file system of a device to fill it.
type GrowRequest struct {
	Device     string      // path of the device node
	Num        host.DevNum // what the device must be
	Mountpoint string      // where the file system is mounted; "" when it is not
	FSType     string      // "" is DefaultFSType
	Live       Alive
}

// Grow makes the file system as large as its device; a noop when it is. What grows mounted does so
// in a call with the mount point: that is journalled and may be interrupted. Before the mount only
// an ext4 grows, and only where the kernel would refuse it later (offline.go); else that is a noop.
//
// The sizes compared are those of the superblock and of the kernel, so that a noop runs no tool.
func (m *Mounter) Grow(ctx context.Context, r GrowRequest) (noop bool, err error) {
	op := "grow the file system on " + r.Device
	if r.FSType, err = fsTypeOf(op, r.FSType); err != nil {
		return false, err
	}
	if r.Mountpoint == "" && r.FSType != ext4 {
		return true, nil
	}
	ctx, span := telemetry.Start(ctx, "fs.resize", telemetry.Internal, telemetry.FilesystemType(r.FSType), telemetry.Device(r.Device))
	defer func() { span.End(err) }()
	start := time.Now()
	noop, err = m.grow(ctx, r)
	if !noop {
		m.metrics.RecordMountOp(ctx, telemetry.MountOpResize, err, time.Since(start))
	}
	return noop, fault.Wrap(op, err)
}

func (m *Mounter) grow(ctx context.Context, r GrowRequest) (noop bool, err error) {
	pin, info, err := m.pin(ctx, r.Device, r.Num, r.Live)
	if err != nil {
		return false, err
	}
	defer pin.Close()
	g := growth{GrowRequest: r, m: m, pin: pin}
	if err := g.mountedHere(ctx); err != nil {
		return false, err
	}
	before, err := g.size(ctx)
	if err != nil {
		return false, err
	}
	if before > info.Size {
		return false, fault.Errorf("", fault.FSCorrupt, "the file system has %d bytes and its device only %d: the device was made smaller; "+
			"do not write to it, bring the device back to its size", before, info.Size)
	}
	if info.Size-before < blockBytes { // less than a block cannot be used
		return true, nil
	}
	if later, err := g.growsMounted(); later || err != nil {
		return later, err
	}
	if err := g.run(ctx); err != nil {
		return false, err
	}
	after, err := g.size(ctx)
	return after == before && err == nil, err // a rest that is too small for the file system's own structures
}

// growth is one growth of a device that is pinned.
type growth struct {
	GrowRequest
	m   *Mounter
	pin host.Device
}

// mountedHere makes sure that the tools, which are given a path, grow the file system of this device.
func (g growth) mountedHere(ctx context.Context) error {
	if g.Mountpoint == "" {
		return g.m.unclaimed(ctx, g.Device)
	}
	there, found, err := g.m.At(g.Mountpoint)
	switch {
	case err != nil:
		return err
	case !found || there.Dev != g.Num || there.FSType != g.FSType:
		return fault.Errorf("", fault.Precondition, "the device's %s is not mounted at %s", g.FSType, g.Mountpoint)
	case there.ReadOnly():
		return fault.Errorf("", fault.Precondition, "it is mounted read-only at %s and cannot grow", g.Mountpoint)
	default:
		return nil
	}
}

// growsMounted tells whether a file system that is not mounted shall wait until it is.
func (g growth) growsMounted() (bool, error) {
	if g.Mountpoint != "" {
		return false, nil
	}
	may, err := g.m.sysResource()
	return may, fault.E("ask for the capabilities of this process", fault.Internal, err)
}

func (g growth) size(ctx context.Context) (uint64, error) {
	if g.FSType == ext4 {
		return g.m.ext4Size(ctx, g.Device, g.pin)
	}
	var size uint64
	err := g.m.statCalls.do(ctx, g.Mountpoint, func() (err error) {
		size, err = g.m.filesystems.Size(g.Mountpoint, g.FSType)
		return err
	})
	if err != nil {
		return 0, fault.E("", fault.Unavailable, err)
	}
	return size, nil
}

func (g growth) run(ctx context.Context) (err error) {
	switch {
	case g.FSType == xfs:
		_, err = g.m.tools.Run(ctx, "xfs_growfs", "-d", g.Mountpoint)
	case g.FSType == btrfs:
		_, err = g.m.tools.Run(ctx, "btrfs", "filesystem", "resize", "max", g.Mountpoint)
	case g.Mountpoint == "":
		return g.m.growOffline(ctx, g.GrowRequest)
	default:
		_, err = g.m.tools.Run(ctx, "resize2fs", g.Device)
	}
	return g.explain(err)
}

// explain turns what a tool says into a class. That ext4 needs CAP_SYS_RESOURCE to grow while
// mounted (fs/ext4/ioctl.c, ext4_resize_begin) is what nobody finds in "Permission denied".
func (g growth) explain(err error) error {
	failed, ok := errors.AsType[*host.ExitError](err)
	denied := ok && (strings.Contains(failed.Stderr, "Permission denied") || strings.Contains(failed.Stderr, "Operation not permitted"))
	switch {
	case err == nil:
		return nil
	case denied && g.FSType == ext4:
		return fault.E("", fault.Precondition, fmt.Errorf("%w: the kernel lets a mounted ext4 grow only with the capability "+
			"CAP_SYS_RESOURCE, which this process lacks; run the node plugin privileged, or stop the pods of the volume: "+
			"it grows when it is next staged", err))
	default:
		return toolError("", fault.Internal, err)
	}
}

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

// Grow makes the file system as large as its device; a noop when it is. mountpoint is where it is
// mounted, or "" when it is not: then ext4 is grown in place (checked first, as resize2fs demands)
// while xfs and btrfs, which grow mounted only, are left for a second call after the mount.
//
// The sizes compared are those of the superblock and of the kernel, so that a noop runs no tool.
func (m *Mounter) Grow(ctx context.Context, device, mountpoint, fsType string) (noop bool, err error) {
	op := "grow the file system on " + device
	if fsType, err = fsTypeOf(op, fsType); err != nil {
		return false, err
	}
	if mountpoint == "" && fsType != ext4 {
		return true, nil
	}
	ctx, span := telemetry.Start(ctx, "fs.resize", telemetry.Internal, telemetry.FilesystemType(fsType), telemetry.Device(device))
	defer func() { span.End(err) }()
	g := growth{m: m, device: device, mountpoint: mountpoint, fsType: fsType}
	start := time.Now()
	noop, err = g.run(ctx)
	if !noop {
		m.metrics.RecordMountOp(ctx, telemetry.MountOpResize, err, time.Since(start))
	}
	return noop, fault.Wrap(op, err)
}

type growth struct {
	m                          *Mounter
	device, mountpoint, fsType string
}

func (g growth) run(ctx context.Context) (noop bool, err error) {
	info, err := g.m.nodeAt(g.device)
	if err != nil {
		return false, fault.E("", fault.Unavailable, err)
	}
	if err := g.mountedHere(info.Num); err != nil {
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
	if err := g.grow(ctx); err != nil {
		return false, err
	}
	after, err := g.size(ctx)
	return after == before && err == nil, err // a rest that is too small for the file system's own structures
}

// mountedHere makes sure that the tools, which are given a path, grow the file system of this device.
func (g growth) mountedHere(num host.DevNum) error {
	if g.mountpoint == "" {
		return g.m.unclaimed(g.device)
	}
	there, found, err := g.m.At(g.mountpoint)
	switch {
	case err != nil:
		return err
	case !found || there.Dev != num || there.FSType != g.fsType:
		return fault.Errorf("", fault.Precondition, "the device's %s is not mounted at %s", g.fsType, g.mountpoint)
	case there.ReadOnly():
		return fault.Errorf("", fault.Precondition, "it is mounted read-only at %s and cannot grow", g.mountpoint)
	default:
		return nil
	}
}

func (g growth) size(ctx context.Context) (uint64, error) {
	if g.fsType == ext4 {
		return g.m.ext4Size(ctx, g.device)
	}
	var size uint64
	err := g.m.statCalls.do(ctx, g.mountpoint, func() (err error) {
		size, err = g.m.filesystems.Size(g.mountpoint, g.fsType)
		return err
	})
	if err != nil {
		return 0, fault.E("", fault.Unavailable, err)
	}
	return size, nil
}

func (g growth) grow(ctx context.Context) error {
	var err error
	switch g.fsType {
	case xfs:
		_, err = g.m.tools.Run(ctx, "xfs_growfs", "-d", g.mountpoint)
	case btrfs:
		_, err = g.m.tools.Run(ctx, "btrfs", "filesystem", "resize", "max", g.mountpoint)
	default:
		return g.growExt4(ctx)
	}
	return g.explain(err)
}

func (g growth) growExt4(ctx context.Context) error {
	if g.mountpoint == "" {
		if err := g.m.preen(ctx, "check before growing", g.device, "-f"); err != nil {
			return err
		}
	}
	_, err := g.m.tools.Run(ctx, "resize2fs", g.device)
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
	case denied && g.fsType == ext4 && g.mountpoint != "":
		return fault.E("", fault.Precondition, fmt.Errorf("%w: the kernel lets a mounted ext4 grow only with the capability "+
			"CAP_SYS_RESOURCE, which this process lacks; run the node plugin privileged, or stop the pods of the volume: "+
			"it grows when it is next staged", err))
	default:
		return toolError("", fault.Internal, err)
	}
}

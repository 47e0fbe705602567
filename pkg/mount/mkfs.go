package mount

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// DefaultFSType is the file system where none is asked for.
const DefaultFSType = "ext4"

const (
	ext4  = "ext4"
	xfs   = "xfs"
	btrfs = "btrfs"
)

// FSTypes are the file systems the driver makes and mounts.
func FSTypes() []string { return []string{ext4, xfs, btrfs} }

// fsTypeOf is the file system asked for, or the default.
func fsTypeOf(op, asked string) (string, error) {
	if asked == "" {
		return DefaultFSType, nil
	}
	if !slices.Contains(FSTypes(), asked) {
		return "", fault.Errorf(op, fault.Invalid, "fsType %q: this driver knows %s", asked, strings.Join(FSTypes(), ", "))
	}
	return asked, nil
}

// MkfsArguments are what mkfs.<fsType> is given before the device. They pin all that decides which
// kernels can mount the result: nothing that Linux 5.10 does not know, whatever the tools' own defaults
// have become (the golden test says so too).
//
// No discard: the volume is a fresh sparse file (100 GiB cost minutes elsewhere, facts/nvme.md §5).
// The ext4 journal is always zeroed, because sampling does not prove that its blocks are zero.
// No -f for xfs and btrfs and a single -F for ext4: they still refuse a device that is in use,
// and the first two one that has a file system.
func MkfsArguments(fsType string) []string {
	switch fsType {
	case xfs:
		return []string{
			"-q", "-K", "-b", "size=4096", "-n", "ftype=1", "-i", "sparse=1,nrext64=0",
			"-m", "crc=1,finobt=1,rmapbt=0,reflink=1,bigtime=1,inobtcount=1",
		}
	case btrfs:
		return []string{
			"-q", "-K", "-s", "4096", "-n", "16384", "-d", "single", "-m", "dup",
			"-O", "extref,skinny-metadata,no-holes", "-R", "free-space-tree",
		}
	default:
		return []string{
			"-q", "-F", "-m0", "-t", "ext4", "-b", "4096", "-I", "256",
			"-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=0",
			"-O", "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super," +
				"large_file,huge_file,dir_nlink,extra_isize,metadata_csum",
		}
	}
}

// mkfs runs mkfs. Whoever calls it holds the proof of prove.
func (m *Mounter) mkfs(ctx context.Context, device, fsType string) (err error) {
	start := time.Now()
	defer func() { m.metrics.RecordMountOp(ctx, telemetry.MountOpMkfs, err, time.Since(start)) }()
	op := "make " + fsType + " on " + device
	_, err = m.tools.Run(ctx, "mkfs."+fsType, append(MkfsArguments(fsType), device)...)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fault.Wrap(op, err)
	default:
		return toolError(op, fault.MkfsFailed, err)
	}
}

// toolError classifies a program that failed: as class, or as what is missing on the node.
func toolError(op string, class fault.Class, err error) error {
	if errors.Is(err, host.ErrNotInstalled) {
		return fault.E(op, fault.Precondition, fmt.Errorf("%w; the driver's image must have it", err))
	}
	if _, ok := errors.AsType[*host.ExitError](err); ok {
		return fault.E(op, class, err)
	}
	return fault.Wrap(op, err)
}

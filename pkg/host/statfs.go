package host

import (
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// FSStats is how full a file system is.
type FSStats struct {
	TotalBytes, AvailableBytes, UsedBytes uint64 // available is for users without privileges
	TotalInodes, FreeInodes, UsedInodes   uint64 // all 0 where inodes are made as needed (btrfs)
}

// Filesystems looks at mounted file systems. Each call can hang as long as the device does.
type Filesystems struct{}

// Statfs tells how full the file system at path is.
func (Filesystems) Statfs(path string) (FSStats, error) {
	var st unix.Statfs_t
	if err := retryEINTR(func() error { return unix.Statfs(path, &st) }); err != nil {
		return FSStats{}, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	return statsOf(&st), nil
}

func statsOf(st *unix.Statfs_t) FSStats {
	unit := uint64(st.Frsize) // blocks are counted in fragments, statfs(2)
	if unit == 0 {
		unit = uint64(st.Bsize)
	}
	return FSStats{
		TotalBytes:     st.Blocks * unit,
		AvailableBytes: st.Bavail * unit,
		UsedBytes:      (st.Blocks - st.Bfree) * unit,
		TotalInodes:    st.Files,
		FreeInodes:     st.Ffree,
		UsedInodes:     st.Files - st.Ffree,
	}
}

// Size is how many bytes of its device the mounted xfs or btrfs at path covers: what its own
// ioctl says. Their superblocks on disk lag behind, and statfs leaves parts out.
func (Filesystems) Size(path, fsType string) (uint64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	var size uint64
	switch fsType {
	case "xfs":
		size, err = xfsSize(file)
	case "btrfs":
		size, err = btrfsSize(file)
	default:
		err = fmt.Errorf("no way to ask %q for its size", fsType)
	}
	if err != nil {
		return 0, &os.PathError{Op: "size of " + fsType, Path: path, Err: err}
	}
	return size, nil
}

const (
	xfsGeometryV1  = 0x80705864 // XFS_IOC_FSGEOMETRY_V1, fs/xfs/libxfs/xfs_fs.h
	btrfsDevInfo   = 0xd000941e // BTRFS_IOC_DEV_INFO, include/uapi/linux/btrfs.h
	btrfsFirstDev  = 1
	ioctlXFSLen    = 112
	ioctlBtrfsLen  = 4096
	xfsBlockSize   = 0  // __u32 blocksize
	xfsDataBlocks  = 32 // __u64 datablocks
	btrfsDevID     = 0  // __u64 devid
	btrfsTotalByte = 32 // __u64 total_bytes, behind devid, uuid[16] and bytes_used
)

func xfsSize(file *os.File) (uint64, error) {
	var geometry [ioctlXFSLen]byte
	if err := ioctl(file, xfsGeometryV1, geometry[:]); err != nil {
		return 0, err
	}
	blockSize := binary.NativeEndian.Uint32(geometry[xfsBlockSize:])
	return uint64(blockSize) * binary.NativeEndian.Uint64(geometry[xfsDataBlocks:]), nil
}

func btrfsSize(file *os.File) (uint64, error) {
	var info [ioctlBtrfsLen]byte
	binary.NativeEndian.PutUint64(info[btrfsDevID:], btrfsFirstDev)
	if err := ioctl(file, btrfsDevInfo, info[:]); err != nil {
		return 0, err
	}
	return binary.NativeEndian.Uint64(info[btrfsTotalByte:]), nil
}

func ioctl(file *os.File, request uintptr, argument []byte) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var errno unix.Errno
	err = conn.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(unsafe.Pointer(&argument[0])))
	})
	if err == nil && errno != 0 {
		err = errno
	}
	return err
}

func retryEINTR(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

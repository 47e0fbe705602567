package host

import (
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BlockInfo is what the kernel says of an open block device.
type BlockInfo struct {
	Num      DevNum
	Size     uint64 // bytes
	ReadOnly bool
}

// Device is an open block device. While it is open the kernel gives neither its name nor its
// number to another disk.
type Device interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// ReadEach shows look what is in each range, and ends with the first error (BlockDevice.ReadEach).
	ReadEach(ranges []Range, look func(Range, []byte) error) error
	Sync() error
	Info() (BlockInfo, error)
}

// Devices opens block devices.
type Devices struct{}

// Open is OpenBlock.
func (Devices) Open(path string, exclusive, write bool) (Device, error) {
	return OpenBlock(path, exclusive, write)
}

// SetReadOnly makes the device num, found at path, refuse writes or take them again, for everybody
// on this machine. A bind mount alone cannot: it does not stand between a program and a device.
func (Devices) SetReadOnly(path string, num DevNum, readOnly bool) error {
	b, err := OpenBlock(path, false, false)
	if err != nil {
		return err
	}
	defer b.Close()
	if b.Num() != num {
		return fmt.Errorf("%s is device %s, not %s", path, b.Num(), num)
	}
	return b.SetReadOnly(readOnly)
}

// BlockDevice is a block device of this machine, open.
type BlockDevice struct {
	file *os.File
	num  DevNum
}

// OpenBlock opens the block device at path. With exclusive it fails with EBUSY while anything
// holds the device: a mounted file system (until its superblock is really gone), a stacked
// device, mkfs, another exclusive open.
func OpenBlock(path string, exclusive bool, write bool) (*BlockDevice, error) {
	if _, ok := nodeNumber(path); !ok { // opening a FIFO would wait for ever
		if _, err := os.Stat(path); err != nil {
			return nil, err
		}
		return nil, &os.PathError{Op: "open", Path: path, Err: unix.ENOTBLK}
	}
	flags := unix.O_RDONLY
	if write {
		flags = unix.O_RDWR
	}
	if exclusive {
		flags |= unix.O_EXCL
	}
	file, err := openUnpolled(path, flags)
	if err != nil {
		return nil, err
	}
	b := &BlockDevice{file: file}
	if err := b.identify(); err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

// openUnpolled opens a file without trying whether it can be polled: os.OpenFile makes five system calls for
// that, of no use for a block device or a table.
func openUnpolled(path string, flags int) (*os.File, error) {
	fd, err := retried(func() (int, error) { return unix.Open(path, flags|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

func (b *BlockDevice) identify() error {
	return b.control(func(fd int) error {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFBLK {
			return unix.ENOTBLK
		}
		b.num = devNum(st.Rdev)
		return nil
	})
}

// ReadAt implements io.ReaderAt.
func (b *BlockDevice) ReadAt(p []byte, off int64) (int, error) { return b.file.ReadAt(p, off) }

// WriteAt implements io.WriterAt; Sync makes it last.
func (b *BlockDevice) WriteAt(p []byte, off int64) (int, error) { return b.file.WriteAt(p, off) }

// Close lets go of the device. After a write it waits for the device.
func (b *BlockDevice) Close() error { return b.file.Close() }

// Sync waits until all that was written is on the device.
func (b *BlockDevice) Sync() error { return b.file.Sync() }

// Num is the device's number, asked of the open descriptor.
func (b *BlockDevice) Num() DevNum { return b.num }

// Size is the device's size in bytes.
func (b *BlockDevice) Size() (size uint64, err error) {
	err = b.control(func(fd int) error {
		// BLKGETSIZE64 writes 64 bits on every architecture; x/sys has no helper for that.
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.BLKGETSIZE64, uintptr(unsafe.Pointer(&size)))
		if errno != 0 {
			return os.NewSyscallError("BLKGETSIZE64", errno)
		}
		return nil
	})
	return size, err
}

// SetReadOnly makes the device refuse writes, or take them again (BLKROSET).
func (b *BlockDevice) SetReadOnly(readOnly bool) error {
	value := 0
	if readOnly {
		value = 1
	}
	return b.control(func(fd int) error {
		return os.NewSyscallError("BLKROSET", unix.IoctlSetPointerInt(fd, unix.BLKROSET, value))
	})
}

// Info implements Device.
func (b *BlockDevice) Info() (BlockInfo, error) {
	size, err := b.Size()
	if err != nil {
		return BlockInfo{}, err
	}
	info := BlockInfo{Num: b.num, Size: size}
	err = b.control(func(fd int) error {
		value, err := unix.IoctlGetUint32(fd, unix.BLKROGET)
		info.ReadOnly = value != 0
		return os.NewSyscallError("BLKROGET", err)
	})
	return info, err
}

// control runs f on the descriptor, which stays open meanwhile.
func (b *BlockDevice) control(f func(fd int) error) error {
	conn, err := b.file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := conn.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil {
		return err
	}
	return failed
}

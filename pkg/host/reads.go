package host

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Range is a piece of a device, in bytes. For ReadEach both are multiples of the device's logical block, which
// is at most BlockAlign, or end with the device.
type Range struct{ Off, Len int64 }

const (
	// BlockAlign is a multiple of every logical block size that this driver meets.
	BlockAlign = 4096

	// readsAtOnce is less than the queue of an NVMe controller holds (facts/nvme.md §1.2: 128).
	readsAtOnce = 64
)

// ReadEach shows look what is in each range, one after the other in the given order, and ends with the first
// error. The bytes are look's until it returns. They come from the device itself and not from what the kernel
// remembers of it (O_DIRECT).
//
// Many reads go on at a time: the survey of a volume looks at some hundred places, each of which would cost a
// round trip, and linux AIO hands them over in a few system calls.
func (b *BlockDevice) ReadEach(ranges []Range, look func(Range, []byte) error) (err error) {
	if len(ranges) == 0 {
		return nil
	}
	fd, err := b.openDirect()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	slot := int(slices.MaxFunc(ranges, func(a, b Range) int { return int(a.Len - b.Len) }).Len)
	slot = (slot + BlockAlign - 1) / BlockAlign * BlockAlign
	arena, err := unix.Mmap(-1, 0, slot*readsAtOnce, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	defer func() { err = errors.Join(err, unix.Munmap(arena)) }()
	read, end := reader(fd)
	defer end() // waits for reads that are still under way, before their memory goes

	for batch := range slices.Chunk(ranges, readsAtOnce) {
		buffers := make([][]byte, len(batch))
		for i, r := range batch {
			buffers[i] = arena[i*slot:][:r.Len]
		}
		if err := read(batch, buffers); err != nil {
			return err
		}
		for i, r := range batch {
			if err := look(r, buffers[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// openDirect opens the device once more. The link leads to the same device, which is open and so keeps its
// number.
func (b *BlockDevice) openDirect() (fd int, err error) {
	err = b.control(func(open int) error {
		fd, err = retried(func() (int, error) {
			return unix.Open("/proc/self/fd/"+strconv.Itoa(open), unix.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
		})
		return os.NewSyscallError("open past the page cache", err)
	})
	return fd, err
}

// reader reads by AIO, or one after the other where the kernel has none left: fs.aio-max-nr counts for the
// whole machine, and databases use it up.
func reader(fd int) (read func([]Range, [][]byte) error, end func()) {
	var q queue
	_, _, errno := unix.Syscall(unix.SYS_IO_SETUP, readsAtOnce, uintptr(unsafe.Pointer(&q.context)), 0)
	if errno != 0 {
		return func(ranges []Range, buffers [][]byte) error { return readInTurn(fd, ranges, buffers) }, func() {}
	}
	q.fd = fd
	return q.read, q.destroy
}

func readInTurn(fd int, ranges []Range, buffers [][]byte) error {
	for i, r := range ranges {
		n, err := retried(func() (int, error) { return unix.Pread(fd, buffers[i], r.Off) })
		if err := r.got(int64(n), err); err != nil {
			return err
		}
	}
	return nil
}

// got is nil if a read of the range gave all of it.
func (r Range) got(n int64, err error) error {
	if err == nil && n < r.Len {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("read %d bytes at %d: got %d: %w", r.Len, r.Off, max(n, 0), err)
	}
	return nil
}

// queue is a context of linux AIO (io_setup(2)).
type queue struct {
	context uintptr
	fd      int
}

// iocb and event are struct iocb and struct io_event of linux/aio_abi.h.
type (
	iocb struct {
		data     uint64
		key      uint32
		rwFlags  uint32
		opcode   uint16
		priority int16
		fd       uint32
		buffer   uint64
		bytes    uint64
		offset   int64
		reserved uint64
		flags    uint32
		resultFD uint32
	}
	event struct {
		data, object uint64
		result       int64
		result2      int64
	}
)

// iocbRead is IOCB_CMD_PREAD.
const iocbRead = 0

// read fills the buffers, which are not of Go's heap. On an error some may still be under way.
func (q *queue) read(ranges []Range, buffers [][]byte) error {
	calls, pointers := make([]iocb, len(ranges)), make([]*iocb, len(ranges))
	for i, r := range ranges {
		calls[i] = iocb{
			data: uint64(i), opcode: iocbRead, fd: uint32(q.fd),
			buffer: uint64(uintptr(unsafe.Pointer(&buffers[i][0]))), bytes: uint64(r.Len), offset: r.Off,
		}
		pointers[i] = &calls[i]
	}
	for begun := 0; begun < len(pointers); {
		n, err := retried(func() (int, error) {
			n, _, errno := unix.Syscall(unix.SYS_IO_SUBMIT, q.context, uintptr(len(pointers)-begun), uintptr(unsafe.Pointer(&pointers[begun])))
			return int(n), errnoError(errno)
		})
		if err != nil {
			return os.NewSyscallError("io_submit", err)
		}
		begun += n
	}
	runtime.KeepAlive(calls)
	return q.wait(ranges)
}

// wait is over when each of the ranges has been read, or one could not be.
func (q *queue) wait(ranges []Range) error {
	events := make([]event, len(ranges))
	for left := len(ranges); left > 0; {
		n, err := retried(func() (int, error) {
			n, _, errno := unix.Syscall6(unix.SYS_IO_GETEVENTS, q.context, uintptr(left), uintptr(left), uintptr(unsafe.Pointer(&events[0])), 0, 0)
			return int(n), errnoError(errno)
		})
		if err != nil {
			return os.NewSyscallError("io_getevents", err)
		}
		for _, e := range events[:n] {
			if err := ranges[e.data].got(e.result, resultError(e.result)); err != nil {
				return err
			}
		}
		left -= n
	}
	return nil
}

func errnoError(errno unix.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}

func resultError(result int64) error {
	if result < 0 {
		return unix.Errno(-result)
	}
	return nil
}

func (q *queue) destroy() { _, _, _ = unix.Syscall(unix.SYS_IO_DESTROY, q.context, 0, 0) }

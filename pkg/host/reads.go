package host

import (
	"cmp"
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
// error, of a read or of look. The bytes are look's until it returns. They come from the device itself and not
// from what the kernel remembers of it (O_DIRECT).
//
// Many reads go on at a time: the survey of a volume looks at some hundred places, each of which would cost a
// round trip, and linux AIO hands them over in a few system calls. It is over when each that was begun has ended.
func (b *BlockDevice) ReadEach(ranges []Range, look func(Range, []byte) error) error {
	slot, err := slotBytes(ranges)
	if err != nil || slot == 0 {
		return err
	}
	fd, err := b.openDirect()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	arena, err := unix.Mmap(-1, 0, slot*readsAtOnce, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	read, end := reader(fd)
	defer func() {
		end() // before the memory that it reads into goes
		_ = unix.Munmap(arena)
	}()
	for batch := range slices.Chunk(ranges, readsAtOnce) {
		buffers := make([][]byte, len(batch))
		for i, r := range batch {
			buffers[i] = arena[i*slot:][:r.Len]
		}
		failed := read(batch, buffers)
		for i, r := range batch {
			if err := failed[i]; err != nil {
				return err
			}
			if err := look(r, buffers[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// slotBytes has room for each of the ranges.
func slotBytes(ranges []Range) (int, error) {
	longest := int64(0)
	for _, r := range ranges {
		if r.Len <= 0 || r.Off < 0 {
			return 0, fmt.Errorf("read %d bytes at %d: %w", r.Len, r.Off, unix.EINVAL)
		}
		longest = max(longest, r.Len)
	}
	return int(longest+BlockAlign-1) / BlockAlign * BlockAlign, nil
}

// openDirect opens the device once more. The link leads to the same device, which is open and so keeps its
// number.
func (b *BlockDevice) openDirect() (fd int, err error) {
	err = b.control(func(open int) error {
		if block, err := unix.IoctlGetInt(open, unix.BLKSSZGET); err != nil || block > BlockAlign {
			return fmt.Errorf("read past the page cache: logical blocks of %d bytes, and at most %d are known: %w", block, BlockAlign, cmp.Or(err, error(unix.EOPNOTSUPP)))
		}
		fd, err = retried(func() (int, error) {
			return unix.Open("/proc/self/fd/"+strconv.Itoa(open), unix.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
		})
		return os.NewSyscallError("open past the page cache", err)
	})
	return fd, err
}

// reader reads by AIO, or one after the other where the kernel has none left: fs.aio-max-nr counts for the
// whole machine, and databases use it up. It tells of each range why it could not be read.
func reader(fd int) (read func([]Range, [][]byte) []error, end func()) {
	q := &queue{fd: fd}
	_, _, errno := unix.Syscall(unix.SYS_IO_SETUP, readsAtOnce, uintptr(unsafe.Pointer(&q.context)), 0)
	if errno != 0 {
		return func(ranges []Range, buffers [][]byte) []error { return readInTurn(fd, ranges, buffers) }, func() {}
	}
	return q.read, q.end
}

func readInTurn(fd int, ranges []Range, buffers [][]byte) []error {
	failed := make([]error, len(ranges))
	for i, r := range ranges {
		n, err := retried(func() (int, error) { return unix.Pread(fd, buffers[i], r.Off) })
		failed[i] = r.got(int64(n), err)
	}
	return failed
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
	context  uintptr
	fd       int
	underWay int // reads whose end was not seen
}

// iocb and event are struct iocb and struct io_event of linux/aio_abi.h. What has no name here is zero.
type (
	iocb struct {
		data   uint64
		_      [2]uint32 // aio_key, aio_rw_flags
		opcode uint16
		_      int16 // aio_reqprio
		fd     uint32
		buffer uint64
		bytes  uint64
		offset int64
		_      uint64    // aio_reserved2
		_      [2]uint32 // aio_flags, aio_resfd
	}
	event struct {
		data   uint64
		_      uint64 // obj
		result int64
		_      int64 // res2
	}
)

// iocbRead is IOCB_CMD_PREAD.
const iocbRead = 0

// read fills the buffers, which are not of Go's heap.
func (q *queue) read(ranges []Range, buffers [][]byte) []error {
	calls, pointers, failed := make([]iocb, len(ranges)), make([]*iocb, len(ranges)), make([]error, len(ranges))
	for i, r := range ranges {
		calls[i] = iocb{
			data: uint64(i), opcode: iocbRead, fd: uint32(q.fd),
			buffer: uint64(uintptr(unsafe.Pointer(&buffers[i][0]))), bytes: uint64(r.Len), offset: r.Off,
		}
		pointers[i] = &calls[i]
		failed[i] = r.got(0, errNotRead)
	}
	var err error
	for err == nil && q.underWay < len(pointers) {
		var n int
		n, err = retried(func() (int, error) {
			rest := pointers[q.underWay:]
			n, _, errno := unix.Syscall(unix.SYS_IO_SUBMIT, q.context, uintptr(len(rest)), uintptr(unsafe.Pointer(&rest[0])))
			return int(n), errnoError(errno)
		})
		if err == nil {
			q.underWay += n
		}
	}
	runtime.KeepAlive(calls)
	if q.underWay < len(ranges) {
		failed[q.underWay] = ranges[q.underWay].got(0, os.NewSyscallError("io_submit", err))
	}
	if err := q.wait(ranges, failed); err != nil {
		failed[0] = err
	}
	return failed
}

// errNotRead stands for a read whose end was not seen.
var errNotRead = errors.New("it was not begun, or has not ended")

// wait is over when each read that is under way has ended; what became of it is in failed then.
func (q *queue) wait(ranges []Range, failed []error) error {
	events := make([]event, len(ranges))
	for q.underWay > 0 {
		n, err := retried(func() (int, error) {
			n, _, errno := unix.Syscall6(unix.SYS_IO_GETEVENTS, q.context, uintptr(q.underWay), uintptr(q.underWay), uintptr(unsafe.Pointer(&events[0])), 0, 0)
			return int(n), errnoError(errno)
		})
		if err != nil {
			return os.NewSyscallError("io_getevents", err)
		}
		for _, e := range events[:n] {
			failed[e.data] = ranges[e.data].got(e.result, resultError(e.result))
		}
		q.underWay -= n
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

// end gives the context back. That takes the kernel some ten milliseconds even with nothing under way (it waits
// for an RCU grace period, fs/aio.c kill_ioctx), which nobody has to wait for then.
func (q *queue) end() {
	destroy := func() { _, _, _ = unix.Syscall(unix.SYS_IO_DESTROY, q.context, 0, 0) }
	if q.underWay > 0 {
		destroy()
		return
	}
	go destroy()
}

package host

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Fabrics is the kernel's door to NVMe over Fabrics, /dev/nvme-fabrics
// (drivers/nvme/host/fabrics.c; facts/nvme.md §1.1).
type Fabrics struct {
	path string
}

// NewFabrics uses the device at path. Nothing is opened yet: the file exists only while the
// module nvme-fabrics is loaded.
func NewFabrics(path string) *Fabrics { return &Fabrics{path: path} }

// Options is the kernel's own list of the options it knows, "key=%s" joined by commas: what a
// read before any write answers. Kernels older than that answer EINVAL. It waits for a create
// that is running.
func (f *Fabrics) Options() (string, error) {
	fd, err := f.open()
	if err != nil {
		return "", err
	}
	text, err := f.answer(fd)
	return text, errors.Join(err, f.close(fd))
}

// Create asks for one controller and blocks until it is live or refused; nothing can cut it
// short. The answer is "instance=N,cntlid=M". Errors carry the kernel's errno.
func (f *Fabrics) Create(options string) (string, error) {
	fd, err := f.open()
	if err != nil {
		return "", err
	}
	// One write, not os.File's loop: EINTR restarts the whole connect, which is for the
	// caller to bound (facts/nvme.md §1.2).
	if _, err := unix.Write(fd, []byte(options)); err != nil {
		return "", errors.Join(os.NewSyscallError("write "+f.path, err), f.close(fd))
	}
	text, err := f.answer(fd)
	return text, errors.Join(err, f.close(fd))
}

func (f *Fabrics) open() (int, error) {
	fd, err := unix.Open(f.path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: f.path, Err: err}
	}
	return fd, nil
}

func (f *Fabrics) answer(fd int) (string, error) {
	buf := make([]byte, os.Getpagesize())
	n, err := unix.Read(fd, buf)
	if err != nil {
		return "", os.NewSyscallError("read "+f.path, err)
	}
	return strings.TrimRight(string(buf[:n]), "\n"), nil
}

func (f *Fabrics) close(fd int) error {
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("close %s: %w", f.path, err)
	}
	return nil
}

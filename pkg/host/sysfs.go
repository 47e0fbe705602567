package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Attributes reads and writes sysfs attributes: one value each, one read(2) or write(2) each.
type Attributes struct{}

// attributeBytes holds nearly every attribute, and lies on a stack that need not grow for it; pageBytes is more
// than the page that an attribute may fill.
const (
	attributeBytes = 512
	pageBytes      = 8 << 10
)

// Read gives the text of an attribute in the directory, or further below, without the newline that sysfs ends
// it with. The error of one that vanished with its device is fs.ErrNotExist or ENODEV.
//
// It makes three system calls, where os.ReadFile makes eight or more.
func (Attributes) Read(d *Directory, name string) (string, error) {
	fd, err := retried(func() (int, error) { return unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return "", fmt.Errorf("read sysfs attribute: %w", &os.PathError{Op: "open", Path: filepath.Join(d.path, name), Err: err})
	}
	defer unix.Close(fd)
	var small [attributeBytes]byte
	text, err := readAttribute(fd, small[:])
	if errors.Is(err, unix.EFBIG) {
		text, err = readAttribute(fd, make([]byte, pageBytes))
	}
	if err != nil {
		return "", fmt.Errorf("read sysfs attribute: %w", &os.PathError{Op: "read", Path: filepath.Join(d.path, name), Err: err})
	}
	return text, nil
}

// readAttribute is EFBIG where the attribute may be longer than the buffer. From its beginning, the kernel makes
// the text anew for each read.
func readAttribute(fd int, buffer []byte) (string, error) {
	n, err := retried(func() (int, error) { return unix.Pread(fd, buffer, 0) })
	if err != nil {
		return "", err
	}
	if n == len(buffer) {
		return "", unix.EFBIG
	}
	return strings.TrimRight(string(buffer[:n]), "\n"), nil
}

// retried makes a system call again for as long as a signal interrupts it.
func retried(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// Write stores value in an attribute in the directory. It never creates the file: a missing attribute is
// fs.ErrNotExist. The kernel acts before it returns, so that writing delete_controller can block for as long as
// the device's queues take to drain (facts/nvme.md §1.4).
func (Attributes) Write(d *Directory, name, value string) error {
	fail := func(op string, err error) error {
		return fmt.Errorf("write %q to sysfs attribute: %w", value, &os.PathError{Op: op, Path: filepath.Join(d.path, name), Err: err})
	}
	fd, err := retried(func() (int, error) { return unix.Openat(d.fd, name, unix.O_WRONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return fail("open", err)
	}
	defer unix.Close(fd)
	if err := writeAll(fd, []byte(value)); err != nil {
		return fail("write", err)
	}
	return nil
}

package host

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Attributes reads and writes sysfs attributes: one value each, one read(2) or write(2) each.
type Attributes struct{}

// Read gives the attribute's text without the newline sysfs ends it with. The error of one
// that vanished with its device is fs.ErrNotExist or ENODEV.
func (Attributes) Read(path string) (string, error) {
	// Not os.ReadFile: there are many of these, and that takes two system calls and an allocation more.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("read sysfs attribute: %w", &os.PathError{Op: "open", Path: path, Err: err})
	}
	defer unix.Close(fd)
	var page [attributeBytes]byte
	n, err := unix.Read(fd, page[:])
	if err != nil {
		return "", fmt.Errorf("read sysfs attribute: %w", &os.PathError{Op: "read", Path: path, Err: err})
	}
	return strings.TrimRight(string(page[:n]), "\n"), nil
}

// attributeBytes is more than any attribute has that is read here; the kernel's own limit is a page.
const attributeBytes = 1024

// Write stores value. It never creates the file: a missing attribute is fs.ErrNotExist. The
// kernel acts before it returns, so that writing delete_controller can block for as long as
// the device's queues take to drain (facts/nvme.md §1.4).
func (Attributes) Write(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("open sysfs attribute: %w", err)
	}
	_, err = f.WriteString(value)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("write %q to sysfs attribute: %w", value, err)
	}
	return nil
}

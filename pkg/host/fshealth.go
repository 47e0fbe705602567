package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// sysFS is where file systems show what they know of themselves, by the name of their device. Reading
// there never waits for the device.
const sysFS = "/sys/fs"

// Answers opens the root directory of a mounted file system: the error of one that is shut down
// (xfs_file_open) or whose device fails. It can hang as long as the device does.
func (Filesystems) Answers(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOATIME, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	return unix.Close(fd)
}

// Errors is how many errors a mounted ext4 has counted since it was last checked, 0 for other file
// systems, which do not count. The device is named as in /sys/fs/ext4.
func (Filesystems) Errors(fsType, device string) (int, error) {
	if fsType != "ext4" {
		return 0, nil
	}
	text, err := os.ReadFile(filepath.Join(sysFS, fsType, device, "errors_count"))
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("errors_count of %s: %w", device, err)
	}
	return n, nil
}

// Held tells whether a file system of that type is still alive on the device of that name, which may be
// gone: somebody has it mounted or files open on it, also in another mount namespace. Btrfs does not
// show that by device.
func (Filesystems) Held(fsType, device string) (bool, error) {
	_, err := os.Stat(filepath.Join(sysFS, fsType, device))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

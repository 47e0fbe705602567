package host

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Directory is an open directory of sysfs. What is read through it is of the device that had the name when it
// was opened, whoever has the name by now; of a device that is gone nothing is there any more.
//
// From it to an attribute is one step, where a path takes the kernel a dozen, and an attach reads some hundred
// attributes.
type Directory struct {
	path string
	fd   int
}

// OpenDirectory opens a directory; symbolic links, such as those of /sys/class, are followed.
func OpenDirectory(path string) (*Directory, error) { return openDirectory(unix.AT_FDCWD, path, path) }

// Open opens a directory below d.
func (d *Directory) Open(name string) (*Directory, error) {
	return openDirectory(d.fd, name, filepath.Join(d.path, name))
}

func openDirectory(at int, name, path string) (*Directory, error) {
	fd, err := retried(func() (int, error) {
		return unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return &Directory{path: path, fd: fd}, nil
}

// Close lets go of the directory. Nothing was written through it that could be lost.
func (d *Directory) Close() { _ = unix.Close(d.fd) }

// Path is the path that it was opened by.
func (d *Directory) Path() string { return d.path }

// direntBytes has room for a device's directory.
const direntBytes = 8 << 10

// Names are what is in the directory, in no order. That of a device is never empty: where nothing is in it, the
// device is gone and the error is fs.ErrNotExist, though kernfs gives none.
func (d *Directory) Names() ([]string, error) {
	if _, err := unix.Seek(d.fd, 0, unix.SEEK_SET); err != nil {
		return nil, &os.PathError{Op: "seek", Path: d.path, Err: err}
	}
	var names []string
	buffer := make([]byte, direntBytes)
	for {
		n, err := retried(func() (int, error) { return unix.ReadDirent(d.fd, buffer) })
		if err != nil {
			return nil, &os.PathError{Op: "readdirent", Path: d.path, Err: err}
		}
		if n == 0 && len(names) == 0 {
			return nil, &os.PathError{Op: "readdirent", Path: d.path, Err: unix.ENOENT}
		}
		if n == 0 {
			return names, nil
		}
		_, _, names = unix.ParseDirent(buffer[:n], -1, names)
	}
}

// DirectoryID tells a directory from any other that had or will have its path: kernfs gives no number twice
// (fs/kernfs/dir.c, kernfs_new_node).
type DirectoryID struct{ Dev, Ino uint64 }

// ID asks the kernel.
func (d *Directory) ID() (DirectoryID, error) {
	var st unix.Stat_t
	if err := unix.Fstat(d.fd, &st); err != nil {
		return DirectoryID{}, &os.PathError{Op: "stat", Path: d.path, Err: err}
	}
	return DirectoryID{Dev: uint64(st.Dev), Ino: st.Ino}, nil
}

// Leads tells whether name in this directory, links followed, leads to the directory other. It is false,
// without an error, where nothing is there.
func (d *Directory) Leads(name string, other *Directory) (bool, error) {
	want, err := other.ID()
	if err != nil {
		return false, err
	}
	var there unix.Stat_t
	_, err = retried(func() (int, error) { return 0, unix.Fstatat(d.fd, name, &there, 0) })
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		return false, nil
	}
	if err != nil {
		return false, &os.PathError{Op: "stat", Path: filepath.Join(d.path, name), Err: err}
	}
	return want == DirectoryID{Dev: uint64(there.Dev), Ino: there.Ino}, nil
}

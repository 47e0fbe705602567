package mount

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// The functions here touch a path only while nothing is mounted at it, which the caller has made
// sure of: what is mounted may be dead, and then even lstat waits for ever.

// ensureDir makes the directory path, unless it is there. Its parent must exist: a mount below a
// directory that kubelet has removed would be found by nobody.
func ensureDir(path string) (created bool, err error) {
	err = os.Mkdir(path, 0o750)
	if err == nil {
		return true, nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return false, err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return false, err
	}
	if !info.IsDir() {
		return false, fmt.Errorf("%s is there and no directory (%s)", path, info.Mode())
	}
	return false, nil
}

// ensureEmptyDir refuses to hide files below a mount, too: unpublish could not remove them.
func ensureEmptyDir(path string) (created bool, err error) {
	created, err = ensureDir(path)
	if err != nil || created {
		return created, err
	}
	entries, err := os.ReadDir(path)
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("directory %s is not empty (%s)", path, entries[0].Name())
	}
	return false, err
}

// ensureFile makes the empty file path, unless it is there.
func ensureFile(path string) (created bool, err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		return true, file.Close()
	}
	if !errors.Is(err, fs.ErrExist) {
		return false, err
	}
	info, err := os.Lstat(path)
	if err == nil && !emptyFile(info) {
		err = fmt.Errorf("%s is there and no empty file (%s, %d bytes)", path, info.Mode(), info.Size())
	}
	return false, err
}

func emptyFile(info fs.FileInfo) bool { return info.Mode().IsRegular() && info.Size() == 0 }

// removeTarget takes away an empty directory, an empty file, or a device node (the predecessor
// made those); nothing else, and never what is in a directory. Missing is fine.
func removeTarget(path string) (removed bool, err error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	switch {
	case info.IsDir():
		err = unix.Rmdir(path)
	case emptyFile(info), info.Mode().Type() == fs.ModeDevice:
		err = unix.Unlink(path)
	default:
		return false, fmt.Errorf("%s is no empty file or directory (%s, %d bytes): not removed", path, info.Mode(), info.Size())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, &os.PathError{Op: "remove", Path: path, Err: err}
	}
	return true, nil
}

package nvme

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// errUnusable wraps what is known to make a device unusable, as opposed to what could not be
// found out.
type errUnusable struct{ error }

func (e errUnusable) Unwrap() error { return e.error }

// errGone says that a device itself is not there any more, not merely an attribute of it.
var errGone error = errUnusable{errors.New("the device is gone")}

// vanished tells the error of a file that is not there. It does not say that the device is gone.
func vanished(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV)
}

// isGone tells whether the device whose directory that is does not exist.
func isGone(dir string) bool {
	_, err := os.Stat(dir)
	return vanished(err)
}

// gone adds errGone to the error of a file that is missing together with its device's directory.
func gone(dir string, err error) error {
	if vanished(err) && isGone(dir) {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	return err
}

// open opens the directory of a device, errGone where there is none.
func open(path string) (*host.Directory, error) {
	dir, err := host.OpenDirectory(path)
	return dir, gone(path, err)
}

// openBelow is open for the directory of a device in that of its parent.
func openBelow(parent *host.Directory, name string) (*host.Directory, error) {
	dir, err := parent.Open(name)
	return dir, gone(filepath.Join(parent.Path(), name), err)
}

// The kernel makes a device's directory a moment before its attributes and removes it a moment
// after (drivers/base/core.c, device_add and device_del). That takes microseconds.
const (
	attributeTries = 5
	attributePause = time.Millisecond
)

// attribute reads an attribute that every device of this kind has. It is errGone only where the
// device is gone and nothing else has its name; an attribute that stays missing is as unknown as one that
// cannot be read.
func attribute(attrs attributes, dir *host.Directory, name string) (string, error) {
	for try := 1; ; try++ {
		text, err := attrs.Read(dir, name)
		if err == nil {
			return text, nil
		}
		if err = gone(dir.Path(), err); errors.Is(err, errGone) || !vanished(err) || try == attributeTries {
			return "", err
		}
		time.Sleep(attributePause)
	}
}

// number reads a block device's number as sysfs shows it.
func number(attrs attributes, dir *host.Directory) (host.DevNum, error) {
	text, err := attribute(attrs, dir, "dev")
	if err != nil {
		return host.DevNum{}, err
	}
	return host.ParseDevNum(text)
}

// numberAt is number for a device that nothing else is asked of.
func numberAt(attrs attributes, path string) (host.DevNum, error) {
	dir, err := open(path)
	if err != nil {
		return host.DevNum{}, err
	}
	defer dir.Close()
	return number(attrs, dir)
}

// size reads a block device's size in bytes.
func size(attrs attributes, dir *host.Directory) (uint64, error) {
	text, err := attribute(attrs, dir, "size")
	if err != nil {
		return 0, err
	}
	sectors, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("size of %s: %w", dir.Path(), err)
	}
	return sectors * sectorBytes, nil
}

// namesOf lists what in a directory has a name of that kind, in order.
func namesOf(dir *host.Directory, kind ...*regexp.Regexp) ([]string, error) {
	names, err := dir.Names()
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		return !strings.HasPrefix(name, "nvme") || !slices.ContainsFunc(kind, func(k *regexp.Regexp) bool { return k.MatchString(name) })
	})
	slices.Sort(names)
	return names, nil
}

package nvme

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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

// The kernel makes a device's directory a moment before its attributes and removes it a moment
// after (drivers/base/core.c, device_add and device_del). That takes microseconds.
const (
	attributeTries = 5
	attributePause = time.Millisecond
)

// attribute reads an attribute that every device of this kind has. It is errGone only where the
// device is gone; an attribute that stays missing is as unknown as one that cannot be read.
func attribute(attrs attributes, dir, name string) (string, error) {
	for try := 1; ; try++ {
		text, err := attrs.Read(filepath.Join(dir, name))
		if err == nil {
			return text, nil
		}
		if err = gone(dir, err); errors.Is(err, errGone) || !vanished(err) || try == attributeTries {
			return "", err
		}
		time.Sleep(attributePause)
	}
}

// number reads a block device's number as sysfs shows it.
func number(attrs attributes, dir string) (host.DevNum, error) {
	text, err := attribute(attrs, dir, "dev")
	if err != nil {
		return host.DevNum{}, err
	}
	return host.ParseDevNum(text)
}

// devices lists the directory of a device.
func devices(dir string) ([]os.DirEntry, error) {
	entries, err := os.ReadDir(dir)
	return entries, gone(dir, err)
}

package mount

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// Table is the whole mount table, in the order of mounting; its paths are Canonical ones.
func (m *Mounter) Table() ([]host.MountPoint, error) {
	return m.mountsWhere("read the mount table", func(host.MountPoint) bool { return true })
}

// At is the topmost mount exactly at path, if there is one. It reads the mount table only and
// never touches what is mounted. Of a device node that is bound to a file, Node tells the number.
func (m *Mounter) At(path string) (host.MountPoint, bool, error) {
	layers, err := m.layers(path)
	return last(layers), len(layers) > 0, err
}

// topmost is At for a Canonical path.
func (m *Mounter) topmost(path string) (host.MountPoint, bool, error) {
	layers, err := m.layersAt(path)
	return last(layers), len(layers) > 0, err
}

func last(layers []host.MountPoint) host.MountPoint {
	if len(layers) == 0 {
		return host.MountPoint{}
	}
	return layers[len(layers)-1]
}

// Picture is the mount table of one moment, for who asks more than one thing of it.
type Picture struct {
	mounter *Mounter
	table   []host.MountPoint
}

// Picture reads the mount table once.
func (m *Mounter) Picture() (Picture, error) {
	table, err := m.Table()
	return Picture{mounter: m, table: table}, err
}

// At is Mounter.At of that moment.
func (p Picture) At(path string) (point host.MountPoint, found bool, err error) {
	path, err = p.mounter.Canonical(path)
	if err != nil {
		return host.MountPoint{}, false, err
	}
	for _, point := range slices.Backward(p.table) { // the last at a path is on top
		if point.Path == path {
			return point, true, nil
		}
	}
	return host.MountPoint{}, false, nil
}

// Shows tells whether a file system of the device num was mounted anywhere.
func (p Picture) Shows(num host.DevNum) bool {
	return slices.ContainsFunc(p.table, func(point host.MountPoint) bool { return point.Dev == num })
}

// layers are the mounts exactly at path, the topmost last.
func (m *Mounter) layers(path string) ([]host.MountPoint, error) {
	canonical, err := m.Canonical(path)
	if err != nil {
		return nil, fault.Wrap("look what is mounted at "+path, err)
	}
	return m.layersAt(canonical)
}

// layersAt is layers for a Canonical path.
func (m *Mounter) layersAt(path string) ([]host.MountPoint, error) {
	return m.mountsWhere("look what is mounted at "+path, func(point host.MountPoint) bool { return point.Path == path })
}

// MountsOf is every mount of a file system on the device num.
func (m *Mounter) MountsOf(num host.DevNum) ([]host.MountPoint, error) {
	return m.mountsWhere("look where device "+num.String()+" is mounted", func(point host.MountPoint) bool { return point.Dev == num })
}

// mountsWhere answers with an error rather than with less than all: unknown means in use.
func (m *Mounter) mountsWhere(op string, keep func(host.MountPoint) bool) ([]host.MountPoint, error) {
	table, err := m.kernel.Table()
	if err != nil {
		return nil, fault.E(op, fault.Unavailable, err)
	}
	return slices.DeleteFunc(table, func(point host.MountPoint) bool { return !keep(point) }), nil
}

// Canonical is path as mountinfo shows it: its directory without symbolic links (the kubelet's
// directory often is one). The last element is never followed: a symbolic link there is refused,
// since a mount would end up somewhere else. Where there is no directory nothing can be mounted,
// and path is only cleaned.
func (m *Mounter) Canonical(path string) (string, error) {
	op := "resolve " + path
	path = filepath.Clean(path)
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return path, nil
	case err != nil:
		return "", fault.E(op, fault.Unavailable, err)
	}
	path = filepath.Join(dir, filepath.Base(path))
	// readlink(2) and not lstat(2), which asks the file system that may be mounted there, and may be dead.
	link, err := os.Readlink(path)
	switch {
	case err == nil:
		return "", fault.Errorf(op, fault.Precondition, "%s is a symbolic link (to %s): nothing is mounted or looked for behind it", path, link)
	case errors.Is(err, unix.EINVAL), errors.Is(err, fs.ErrNotExist): // no link; nothing there
		return path, nil
	default:
		return "", fault.E(op, fault.Unavailable, err)
	}
}

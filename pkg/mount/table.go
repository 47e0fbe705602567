package mount

import (
	"errors"
	"os"
	"path/filepath"
	"slices"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// At is the topmost mount exactly at path, if there is one. It reads the mount table only and
// never touches what is mounted.
func (m *Mounter) At(path string) (host.MountPoint, bool, error) {
	layers, err := m.layers(path)
	if err != nil || len(layers) == 0 {
		return host.MountPoint{}, false, err
	}
	return layers[len(layers)-1], true, nil
}

// layers are the mounts exactly at path, the topmost last.
func (m *Mounter) layers(path string) ([]host.MountPoint, error) {
	op := "look what is mounted at " + path
	path, err := canonical(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // no parent directory: nothing can be mounted there
	}
	if err != nil {
		return nil, fault.E(op, fault.Unavailable, err)
	}
	return m.mountsWhere(op, func(point host.MountPoint) bool { return point.Path == path })
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

// canonical is path as mountinfo shows it: its directory without symbolic links (the kubelet's
// directory often is one). The last element is left alone: it may be a dead mount.
func canonical(path string) (string, error) {
	dir, err := filepath.EvalSymlinks(filepath.Dir(filepath.Clean(path)))
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, filepath.Base(path)), nil
}

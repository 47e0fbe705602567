package nvmetest

import (
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

func (k *Kernel) disk(path string) *disk {
	for _, s := range k.subsystems {
		for _, h := range s.heads {
			for _, d := range h.disks {
				if !d.gone && k.path("dev/"+d.name) == path {
					return d
				}
			}
		}
	}
	return nil
}

// Identify opens a node and asks fstat and BLKGETSIZE64.
func (k *Kernel) Identify(path string) (host.DevNum, uint64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.disk(path)
	if d == nil {
		return host.DevNum{}, 0, &os.PathError{Op: "open", Path: path, Err: unix.ENOENT}
	}
	if num, ok := k.lies[path]; ok {
		return num, d.size, nil
	}
	return d.num, d.size, nil
}

// Exclusive opens a node with O_EXCL.
func (k *Kernel) Exclusive(path string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.disk(path)
	if d == nil {
		return &os.PathError{Op: "open", Path: path, Err: unix.ENOENT}
	}
	if k.used(d) {
		return &os.PathError{Op: "open", Path: path, Err: unix.EBUSY}
	}
	return nil
}

func (k *Kernel) used(d *disk) bool {
	return k.held[k.path("dev/"+d.name)] || slices.ContainsFunc(k.mounts, func(m host.MountPoint) bool { return m.Dev == d.num })
}

// Hold keeps the device open with O_EXCL, as a mount in another namespace does.
func (k *Kernel) Hold(path string) (release func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held[path] = true
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.held, path)
		k.settleAll()
	}
}

// Lie makes the node at path another device than sysfs says.
func (k *Kernel) Lie(path string, num host.DevNum) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lies[path] = num
}

// Mount adds a line to the mount table.
func (k *Kernel) Mount(m host.MountPoint) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mounts = append(k.mounts, m)
}

// Unmount removes the lines of that mount point.
func (k *Kernel) Unmount(path string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mounts = slices.DeleteFunc(k.mounts, func(m host.MountPoint) bool { return m.Path == path })
	k.settleAll()
}

// settleAll frees what only a mount or an open descriptor pinned.
func (k *Kernel) settleAll() {
	for _, s := range k.subsystems {
		k.settle(s)
	}
}

// Table is the mount table.
func (k *Kernel) Table() ([]host.MountPoint, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.mounts), nil
}

// AddHolder stacks another block device on d.
func (k *Kernel) AddHolder(d nvme.Device, name string) {
	k.put(k.sysDir(d)+"/holders/"+name, "")
}

// AddPartition puts a partition on d.
func (k *Kernel) AddPartition(d nvme.Device, num host.DevNum) {
	dir := k.sysDir(d) + "/" + filepath.Base(d.Path) + "p1"
	k.mkdir(dir + "/holders")
	k.put(dir+"/partition", "1")
	k.put(dir+"/dev", num.String())
}

func (k *Kernel) sysDir(d nvme.Device) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.disk(d.Path).dir
}

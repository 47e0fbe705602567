package mounttest

import (
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// Filesystems looks at what a Kernel has mounted.
type Filesystems struct{ k *Kernel }

// Statfs gives an almost empty file system of the size in its superblock.
func (s *Filesystems) Statfs(path string) (host.FSStats, error) {
	s.k.wait("statfs", path)
	_, fs, err := s.k.mountedAt(path)
	if err != nil {
		return host.FSStats{}, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	used := fs.size / 64
	stats := host.FSStats{TotalBytes: fs.size, AvailableBytes: fs.size - used, UsedBytes: used}
	if fs.kind != "btrfs" {
		stats.TotalInodes = fs.size / 16384
		stats.FreeInodes, stats.UsedInodes = stats.TotalInodes-11, 11
	}
	return stats, nil
}

// Size is the size a mounted xfs or btrfs has.
func (s *Filesystems) Size(path, fsType string) (uint64, error) {
	kind, fs, err := s.k.mountedAt(path)
	if err == nil && (kind != fsType || fsType == "ext4") {
		err = unix.ENOTTY
	}
	if err != nil {
		return 0, &os.PathError{Op: "size of " + fsType, Path: path, Err: err}
	}
	return fs.size, nil
}

// Answers opens the root of what is mounted.
func (s *Filesystems) Answers(path string) error {
	s.k.wait("answer", path)
	if _, _, err := s.k.mountedAt(path); err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	return nil
}

// Errors is the count of a mounted ext4.
func (s *Filesystems) Errors(fsType, device string) (int, error) {
	s.k.mu.Lock()
	defer s.k.mu.Unlock()
	if fsType != "ext4" {
		return 0, nil
	}
	d := s.k.disks["/dev/"+device]
	if d == nil || !s.k.isMounted(d) {
		return 0, &os.PathError{Op: "open", Path: "/sys/fs/ext4/" + device, Err: unix.ENOENT}
	}
	return d.errors, nil
}

// Held tells whether anything of the device is mounted, or was copied into a container.
func (s *Filesystems) Held(fsType, device string) (bool, error) {
	s.k.mu.Lock()
	defer s.k.mu.Unlock()
	mine := func(p host.MountPoint) bool { return p.FSType == fsType && p.Source == "/dev/"+device }
	return slices.ContainsFunc(s.k.table, mine) || slices.ContainsFunc(s.k.copies, mine), nil
}

func (k *Kernel) mountedAt(path string) (kind string, fs filesystem, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	there, ok := k.top(path)
	if !ok {
		return "", fs, unix.ENOENT
	}
	d := k.diskOf(there)
	if d == nil {
		return "", fs, unix.EIO
	}
	fs, err = d.filesystem()
	return there.FSType, fs, err
}

package mounttest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// Kernel is the machine: the mount table is its methods, the rest is behind Tools, Devices and
// Filesystems. It is safe for concurrent use.
type Kernel struct {
	t   testing.TB
	dir string

	mu     sync.Mutex
	disks  map[string]*disk
	table  []host.MountPoint
	uuids  map[host.DevNum][16]byte // of the file systems that were mounted
	copies []host.MountPoint        // that containers have in mount namespaces of their own
	busy   map[string]bool
	hangs  map[string]chan struct{}
	calls  []string
	broken map[string]error // by tool
	cut    bool             // the next mkfs is killed half-way
	weak   bool             // no CAP_SYS_RESOURCE
}

// New makes a machine without disks.
func New(t testing.TB) *Kernel {
	return &Kernel{
		t: t, dir: t.TempDir(),
		uuids: map[host.DevNum][16]byte{}, disks: map[string]*disk{}, busy: map[string]bool{}, hangs: map[string]chan struct{}{}, broken: map[string]error{},
	}
}

// Tools are mkfs, blkid and their like.
func (k *Kernel) Tools() *Tools { return &Tools{k} }

// Devices opens the disks.
func (k *Kernel) Devices() *Devices { return &Devices{k} }

// Filesystems looks at what is mounted.
func (k *Kernel) Filesystems() *Filesystems { return &Filesystems{k} }

// mountFlags are the options that belong to the mount and not to the file system.
var mountFlags = []string{"nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime", "strictatime"}

// fsOptions are what each file system here understands.
var fsOptions = map[string][]string{
	"ext4":  {"noload", "discard", "data=ordered", "errors=remount-ro", "commit=30"},
	"xfs":   {"nouuid", "norecovery", "discard", "largeio"},
	"btrfs": {"discard", "compress=zstd", "ssd"},
}

// Mount is mount(2) of a disk, or with remount and bind of the flags of a mount.
func (k *Kernel) Mount(source, target, fsType string, options []string) error {
	k.wait("mount", target)
	k.mu.Lock()
	defer k.mu.Unlock()
	target = realPath(target)
	if slices.Contains(options, "remount") {
		return k.remount(target, options)
	}
	if fsType == "tmpfs" {
		return k.mountTmpfs(source, target, options)
	}
	if err := k.mountable(source, target, fsType, options); err != nil {
		return &os.PathError{Op: "mount", Path: target, Err: err}
	}
	d := k.disks[source]
	d.mounted(fsType, mode(options) == "rw")
	if fs, err := d.filesystem(); err == nil {
		k.uuids[d.num] = fs.uuid
	}
	point := host.MountPoint{Dev: d.num, Root: "/", Path: target, FSType: fsType, Source: source, Options: []string{mode(options)}}
	point.SuperOptions = []string{mode(options)}
	for _, option := range options {
		switch {
		case slices.Contains(mountFlags, option):
			point.Options = append(point.Options, option)
		case option != "ro" && option != "rw":
			point.SuperOptions = append(point.SuperOptions, option)
		}
	}
	k.table = append(k.table, point)
	return nil
}

// mountTmpfs mounts an empty file system without a device.
func (k *Kernel) mountTmpfs(source, target string, options []string) error {
	if info, err := os.Stat(target); err != nil || !info.IsDir() {
		return &os.PathError{Op: "mount", Path: target, Err: unix.ENOENT}
	}
	k.table = append(k.table, host.MountPoint{
		Dev: host.DevNum{Minor: 40}, Root: "/", Path: target, FSType: "tmpfs", Source: source,
		Options: []string{mode(options)}, SuperOptions: []string{mode(options)},
	})
	return nil
}

// remount sets exactly the flags it is given, as the kernel does.
func (k *Kernel) remount(target string, options []string) error {
	err := unix.EINVAL
	for i, point := range slices.Backward(k.table) {
		if point.Path == target && slices.Contains(options, "bind") {
			flags := slices.DeleteFunc(slices.Clone(options), func(o string) bool { return !slices.Contains(mountFlags, o) })
			k.table[i].Options = append([]string{mode(options)}, flags...)
			return nil
		}
	}
	return &os.PathError{Op: "remount", Path: target, Err: err}
}

func mode(options []string) string {
	if slices.Contains(options, "ro") {
		return "ro"
	}
	return "rw"
}

func (k *Kernel) mountable(source, target, fsType string, options []string) error {
	known, ok := fsOptions[fsType]
	if !ok {
		return unix.ENODEV
	}
	for _, option := range options {
		if option != "ro" && option != "rw" && !slices.Contains(mountFlags, option) && !slices.Contains(known, option) {
			return unix.EINVAL
		}
	}
	if slices.Contains(options, "norecovery") && mode(options) != "ro" {
		return unix.EINVAL
	}
	if info, err := os.Stat(target); err != nil || !info.IsDir() {
		return unix.ENOENT
	}
	d := k.disks[source]
	if d == nil || d.dead {
		return unix.ENOENT
	}
	if d.readOnly && mode(options) != "ro" {
		return unix.EACCES
	}
	if err := k.sameSuperblock(d, target, options); err != nil {
		return err
	}
	return k.validSuperblock(d, fsType, options)
}

// sameSuperblock is what the kernel says of a device that is in use: a second mount of its file
// system is fine elsewhere, but neither at the same place nor in another mode.
func (k *Kernel) sameSuperblock(d *disk, target string, options []string) error {
	if d.exclusive > 0 {
		return unix.EBUSY
	}
	for _, there := range k.table {
		if there.Dev != d.num {
			continue
		}
		if there.Path == target || there.SuperOptions[0] != mode(options) {
			return unix.EBUSY
		}
	}
	return nil
}

func (k *Kernel) validSuperblock(d *disk, fsType string, options []string) error {
	fs, err := d.filesystem()
	switch {
	case err != nil:
		return unix.EIO
	case fs.kind != fsType, fs.size > d.size():
		return unix.EINVAL
	case d.state == Corrupt:
		return unix.EUCLEAN
	}
	if fsType == "btrfs" && k.btrfsTwin(d, fs) {
		return unix.EEXIST
	}
	if fsType != "xfs" || slices.Contains(options, "nouuid") {
		return nil
	}
	for _, other := range k.disks { // xfs refuses a UUID that is mounted already
		if twin, err := other.filesystem(); other != d && err == nil && twin.uuid == fs.uuid && k.isMounted(other) {
			return unix.EINVAL
		}
	}
	return nil
}

// btrfsTwin tells whether a btrfs with that UUID is alive on another device, dead or not, also where only
// a container has it (fs/btrfs/volumes.c, device_list_add).
func (k *Kernel) btrfsTwin(d *disk, fs filesystem) bool {
	for _, other := range slices.Concat(k.table, k.copies) {
		if other.FSType == "btrfs" && other.Dev != d.num && k.uuids[other.Dev] == fs.uuid {
			return true
		}
	}
	return false
}

func (k *Kernel) isMounted(d *disk) bool {
	return slices.ContainsFunc(k.table, func(p host.MountPoint) bool { return p.Dev == d.num })
}

// Bind is mount(2) with MS_BIND, of a mount, of a disk's node, or of a plain directory.
func (k *Kernel) Bind(source, target string, readOnly bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	target = realPath(target)
	point, isDir, err := k.bindSource(source)
	if err == nil {
		info, statErr := os.Stat(target)
		if statErr != nil {
			err = unix.ENOENT
		} else if info.IsDir() != isDir {
			err = unix.ENOTDIR
		}
	}
	if err != nil {
		return &os.PathError{Op: "bind", Path: target, Err: err}
	}
	point.Path, point.Options = target, slices.Clone(point.Options)
	if readOnly {
		point.Options[0] = "ro"
	}
	k.table = append(k.table, point)
	return nil
}

func (k *Kernel) bindSource(source string) (point host.MountPoint, isDir bool, err error) {
	if there, ok := k.top(source); ok {
		return there, there.FSType != devFS, nil
	}
	if d := k.disks[source]; d != nil && !d.dead {
		return host.MountPoint{
			Dev: host.DevNum{Minor: 6}, Root: "/" + filepath.Base(source), FSType: devFS, Source: devFS,
			Options: []string{"rw"}, SuperOptions: []string{"rw"}, NodeDev: d.num,
		}, false, nil
	}
	info, err := os.Stat(source)
	if err != nil {
		return point, false, unix.ENOENT
	}
	return host.MountPoint{
		Dev: host.DevNum{Major: 254}, Root: source, FSType: "ext4", Source: "/dev/root",
		Options: []string{"rw"}, SuperOptions: []string{"rw"},
	}, info.IsDir(), nil
}

const devFS = "devtmpfs"

// Unmount is umount2(2): one layer, EINVAL where nothing is mounted, EBUSY while in use.
func (k *Kernel) Unmount(target string) error {
	k.wait("umount", target)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.unmount(parentResolved(target)); err != nil {
		return &os.PathError{Op: "umount", Path: target, Err: err}
	}
	return nil
}

func (k *Kernel) unmount(target string) error {
	for i, point := range slices.Backward(k.table) {
		switch {
		case strings.HasPrefix(point.Path, target+"/"):
			return unix.EBUSY
		case point.Path == target && k.busy[target]:
			return unix.EBUSY
		case point.Path == target:
			k.table = slices.Delete(k.table, i, i+1)
			k.unmounted(point)
			return nil
		}
	}
	return unix.EINVAL
}

// unmounted closes the journal of a file system that is mounted nowhere else, if its disk still answers.
func (k *Kernel) unmounted(point host.MountPoint) {
	if d := k.diskOf(point); d != nil && d.journal && !k.isMounted(d) {
		d.journal = false
		_ = d.setState(d.state)
	}
}

// Table is the mount table.
func (k *Kernel) Table() ([]host.MountPoint, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.table), nil
}

func (k *Kernel) top(path string) (host.MountPoint, bool) {
	path = realPath(path)
	for _, point := range slices.Backward(k.table) {
		if point.Path == path {
			return point, true
		}
	}
	return host.MountPoint{}, false
}

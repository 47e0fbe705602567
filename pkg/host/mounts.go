package host

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mount"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// MountPoint is one line of mountinfo.
type MountPoint struct {
	// Dev is the number of the block device below. Btrfs shows an anonymous number (0:n) in
	// mountinfo; Dev is then that of Source, while Source is there. The kernel gives neither
	// the name nor the number of a disk away while it is mounted.
	Dev          DevNum
	Root         string // what of the file system is mounted; of a device node bound to a file, the node
	Path         string
	FSType       string
	Source       string
	Options      []string // of this mount
	SuperOptions []string // of the file system
	Shared       bool     // mounts below it show in the mount namespaces it is shared with (mount_namespaces(7))
	// NodeDev is the number of the device node that is bound to the file Path; zero for every
	// other mount, and where several are at one path for all but the topmost.
	NodeDev DevNum
}

// Node is the number of the device node that this mount binds, if it binds one. The number is the
// node's: whether that device is still there it does not tell.
func (m MountPoint) Node() (DevNum, bool) { return m.NodeDev, !m.NodeDev.IsZero() }

// Device is the block device that this mount leads to: of a bound node that node's, else Dev.
func (m MountPoint) Device() DevNum {
	if num, ok := m.Node(); ok {
		return num
	}
	return m.Dev
}

// ReadOnlyRemount are the options of mount(8) that make this mount read-only. They name the flags
// that are already there: a remount sets exactly those it is given.
func (m MountPoint) ReadOnlyRemount() []string {
	options := []string{"remount", "bind", "ro"}
	for _, option := range m.Options {
		if option != "rw" && option != "ro" {
			options = append(options, option)
		}
	}
	return options
}

// ReadOnly tells whether nothing can be written through this mount: because of the mount or
// because of the file system.
func (m MountPoint) ReadOnly() bool {
	return slices.Contains(m.Options, "ro") || slices.Contains(m.SuperOptions, "ro")
}

// Mounts is the mount table of this process.
type Mounts struct{}

// NewMounts makes a Mounts.
func NewMounts() *Mounts { return &Mounts{} }

// Mount mounts source at target. Options are those of mount(8); what is no flag goes to the
// file system.
func (*Mounts) Mount(source, target, fsType string, options []string) error {
	return mount.Mount(source, target, fsType, strings.Join(options, ","))
}

// Bind makes what is at source appear at target too, with the flags source is mounted with,
// read-only where asked. mount(2) takes two calls for that: if the second fails the first is undone.
func (m *Mounts) Bind(source, target string, readOnly bool) error {
	target, err := filepath.EvalSymlinks(target) // as mount(2) does, and as the table shows it
	if err != nil {
		return err
	}
	if err := mount.Mount(source, target, "", "bind"); err != nil || !readOnly {
		return err
	}
	if err := m.remountReadOnly(target); err != nil {
		return errors.Join(fmt.Errorf("make the bind mount read-only: %w", err), m.Unmount(target))
	}
	return nil
}

func (m *Mounts) remountReadOnly(target string) error {
	table, err := m.Table()
	if err != nil {
		return err
	}
	for _, point := range slices.Backward(table) {
		if point.Path == target {
			return m.Mount("", target, "", point.ReadOnlyRemount())
		}
	}
	return fmt.Errorf("%s is not in the mount table", target)
}

// Unmount takes down the topmost mount at target. It never forces and never detaches lazily:
// both let the caller believe that a file system is gone which still writes.
func (*Mounts) Unmount(target string) error {
	if err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW); err != nil {
		return &os.PathError{Op: "umount", Path: target, Err: err}
	}
	return nil
}

// Table reads /proc/self/mountinfo: in the order of mounting, so that of several mounts at one
// path the last is on top.
func (*Mounts) Table() ([]MountPoint, error) {
	f, err := openUnpolled("/proc/self/mountinfo", unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseMounts(f, nodeNumber)
}

// parseMounts reads mountinfo; number tells the device number of a device node.
func parseMounts(r io.Reader, number func(path string) (DevNum, bool)) ([]MountPoint, error) {
	infos, err := mountinfo.GetMountsFromReader(r, nil)
	if err != nil {
		return nil, fmt.Errorf("mountinfo: %w", err)
	}
	table := make([]MountPoint, 0, len(infos))
	for _, info := range infos {
		point := MountPoint{
			Dev:          DevNum{Major: uint32(info.Major), Minor: uint32(info.Minor)},
			Root:         info.Root,
			Path:         info.Mountpoint,
			FSType:       info.FSType,
			Source:       info.Source,
			Options:      strings.Split(info.Options, ","),
			SuperOptions: strings.Split(info.VFSOptions, ","),
			Shared:       strings.Contains(info.Optional, "shared:"),
		}
		if point.FSType == "btrfs" && point.Dev.Major == 0 {
			if dev, ok := number(point.Source); ok {
				point.Dev = dev
			}
		}
		table = append(table, point)
	}
	nameNodes(table, number)
	return table, nil
}

// nameNodes fills in NodeDev: what is bound of the file system behind /dev (of a host, of a
// container) and is a block device.
func nameNodes(table []MountPoint, number func(path string) (DevNum, bool)) {
	topmost := map[string]bool{}
	for i, point := range slices.Backward(table) {
		if topmost[point.Path] {
			continue
		}
		topmost[point.Path] = true
		if point.Root == "/" || point.FSType != "devtmpfs" && point.FSType != "tmpfs" {
			continue
		}
		if num, ok := number(point.Path); ok {
			table[i].NodeDev = num
		}
	}
}

// nodeNumber looks at a node in /dev; that never waits for the device itself.
func nodeNumber(path string) (DevNum, bool) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return DevNum{}, false
	}
	return devNum(st.Rdev), true
}

func devNum(dev uint64) DevNum { return DevNum{Major: unix.Major(dev), Minor: unix.Minor(dev)} }

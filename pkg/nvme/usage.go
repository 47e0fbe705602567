package nvme

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// usage tells whether something uses a block device. What it cannot find out counts as use
// (facts/nvme.md §4 rule 3).
type usage struct {
	attrs  attributes
	mounts mountTable
	calls  *calls
}

// free is nil when nothing uses the device at path with the sysfs directory dir: no mount of it
// or of a partition, no bind mount of its node, no holder, and nobody has it open exclusively.
// The last is the only test that sees other mount namespaces and an umount that still flushes.
func (u usage) free(ctx context.Context, path, dir string) error {
	names, err := u.withPartitions(dir)
	if vanished(err) {
		return nil // the device went away, and whoever used it has lost it
	}
	if err != nil {
		return inUse(path, err)
	}
	table, err := u.mounts.Table()
	if err != nil {
		return inUse(path, err)
	}
	for name, num := range names {
		if err := mounted(table, name, num); err != nil {
			return inUse(path, err)
		}
		if err := held(dirOf(dir, name)); err != nil {
			return inUse(path, err)
		}
	}
	err = u.unclaimed(ctx, path)
	if _, goneErr := number(u.attrs, dir); vanished(err) && vanished(goneErr) {
		return nil
	}
	return inUse(path, err)
}

func inUse(path string, why error) error {
	return fault.E("check that nothing uses "+path, fault.Busy, why)
}

// withPartitions gives the numbers of the device and its partitions by name.
func (u usage) withPartitions(dir string) (map[string]host.DevNum, error) {
	names := map[string]host.DevNum{}
	num, err := number(u.attrs, dir)
	if err != nil {
		return nil, err
	}
	names[filepath.Base(dir)] = num
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		part := filepath.Join(dir, e.Name())
		if !e.IsDir() {
			continue
		}
		if _, err := u.attrs.Read(filepath.Join(part, "partition")); vanished(err) {
			continue
		} else if err != nil {
			return nil, err
		}
		if names[e.Name()], err = number(u.attrs, part); err != nil {
			return nil, err
		}
	}
	return names, nil
}

func dirOf(disk, name string) string {
	if name == filepath.Base(disk) {
		return disk
	}
	return filepath.Join(disk, name)
}

// mounted finds a file system on the device, or its node bind-mounted as a raw block volume:
// such a mount has the number of the file system of /dev and the node's name as its root.
func mounted(table []host.MountPoint, name string, num host.DevNum) error {
	for _, m := range table {
		if m.Dev == num {
			return fmt.Errorf("%s (%s) is mounted at %s: unmount it first", name, num, m.Path)
		}
		if nodes := m.FSType == "devtmpfs" || m.FSType == "tmpfs"; nodes && strings.TrimSuffix(m.Root, "//deleted") == "/"+name {
			return fmt.Errorf("the node of %s is bind-mounted at %s: unmount it first", name, m.Path)
		}
	}
	return nil
}

// held finds another block device that sits on this one, such as a device mapper's.
func held(dir string) error {
	holders, err := os.ReadDir(filepath.Join(dir, "holders"))
	if err != nil && !vanished(err) {
		return err
	}
	if len(holders) > 0 {
		return fmt.Errorf("%s is held by %s: take that down first", filepath.Base(dir), holders[0].Name())
	}
	return nil
}

func (u usage) unclaimed(ctx context.Context, path string) error {
	err := u.calls.exclusive(ctx, path)
	switch {
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("somebody has %s open exclusively, such as a mount in another namespace or an unmount that is not finished: %w", path, err)
	case err != nil:
		return fmt.Errorf("whether somebody uses %s cannot be told: %w", path, err)
	}
	return nil
}

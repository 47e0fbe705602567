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
// A device that is gone is free: whoever used it has lost it.
func (u usage) free(ctx context.Context, path, dir string) error {
	err := u.check(ctx, path, dir)
	if vanished(err) && isGone(dir) {
		return nil
	}
	return inUse(path, err)
}

func (u usage) check(ctx context.Context, path, dir string) error {
	names, err := u.withPartitions(dir)
	if err != nil {
		return err
	}
	table, err := u.mounts.Table()
	if err != nil {
		return err
	}
	for name, num := range names {
		if err := mounted(table, name, num); err != nil {
			return err
		}
		if err := held(dirOf(dir, name)); err != nil {
			return err
		}
	}
	return u.unclaimed(ctx, path, names[filepath.Base(dir)])
}

func inUse(path string, why error) error {
	return fault.E("check that nothing uses "+path, fault.Busy, why)
}

// withPartitions gives the numbers of the device and its partitions by name. A partition's name
// begins with its device's (block/partitions/core.c, add_partition).
func (u usage) withPartitions(dir string) (map[string]host.DevNum, error) {
	disk := filepath.Base(dir)
	num, err := numberAt(u.attrs, dir)
	if err != nil {
		return nil, err
	}
	names := map[string]host.DevNum{disk: num}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, gone(dir, err)
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), disk) {
			continue
		}
		num, err := numberAt(u.attrs, filepath.Join(dir, e.Name()))
		if errors.Is(err, errGone) {
			continue
		}
		if err != nil {
			return nil, err
		}
		names[e.Name()] = num
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

// held finds another block device that sits on this one, such as a device mapper's. Every block
// device has the directory, so a missing one is no answer.
func held(dir string) error {
	holders, err := os.ReadDir(filepath.Join(dir, "holders"))
	switch {
	case vanished(err) && isGone(dir):
		return nil
	case err != nil:
		return err
	case len(holders) > 0:
		return fmt.Errorf("%s is held by %s: take that down first", filepath.Base(dir), holders[0].Name())
	}
	return nil
}

// unclaimed is nil when nobody has the device num open exclusively. The node must be that
// device's, or its answer is another's.
func (u usage) unclaimed(ctx context.Context, path string, num host.DevNum) error {
	opened, err := u.calls.identify(ctx, path)
	if err == nil && opened.num != num {
		err = fmt.Errorf("it is device %s, not %s", opened.num, num)
	}
	if err == nil {
		err = u.calls.exclusive(ctx, path)
	}
	switch {
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("somebody has %s open exclusively, such as a mount in another namespace or an unmount that is not finished: %w", path, err)
	case err != nil:
		return fmt.Errorf("whether somebody uses %s cannot be told: %w", path, err)
	}
	return nil
}

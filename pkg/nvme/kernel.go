package nvme

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// calls are the effects on devices that can block for ever, bounded by a context each.
type calls struct {
	attrs   attributes
	blocks  blockDevices
	writes  flights[struct{}]
	claims  flights[struct{}]
	lookups flights[identity]
}

// identity is what an open descriptor says of a device.
type identity struct {
	num  host.DevNum
	size uint64
}

// write stores an attribute of the device at dir, if meant says that it is the one that was meant: the kernel
// gives the name of a device that went away to another, but through the directory nothing gets to that.
func (c *calls) write(ctx context.Context, dir, name, value string, meant func(*host.Directory) error) error {
	_, err := c.writes.do(ctx, "write "+filepath.Join(dir, name), func() (struct{}, error) {
		opened, err := host.OpenDirectory(dir)
		if err != nil {
			return struct{}{}, err
		}
		defer opened.Close()
		if err := meant(opened); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, c.attrs.Write(opened, name, value)
	})
	return err
}

// tell writes an attribute of a controller, fs.ErrNotExist where that is gone and its name perhaps another's.
func (h *Host) tell(ctx context.Context, c controller, name, value string) error {
	return h.calls.write(ctx, c.dir, name, value, func(dir *host.Directory) error {
		for _, a := range [][2]string{{"subsysnqn", c.nqn}, {"hostnqn", c.hostNQN}} {
			got, err := attribute(h.tree.attrs, dir, a[0])
			if err != nil {
				return err
			}
			if got != a[1] {
				return fmt.Errorf("%s is another controller now, with %s %s: %w", c.name, a[0], got, fs.ErrNotExist)
			}
		}
		return nil
	})
}

// writing tells whether a write to path has not come back yet.
func (c *calls) writing(path string) bool { return c.writes.running("write " + path) }

func (c *calls) exclusive(ctx context.Context, path string) error {
	_, err := c.claims.do(ctx, "open "+path+" exclusively", func() (struct{}, error) {
		return struct{}{}, c.blocks.Exclusive(path)
	})
	return err
}

func (c *calls) identify(ctx context.Context, path string) (identity, error) {
	return c.lookups.do(ctx, "open "+path, func() (identity, error) {
		num, size, err := c.blocks.Identify(path)
		return identity{num: num, size: size}, err
	})
}

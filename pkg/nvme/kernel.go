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

// order is a value for an attribute of one device. The kernel gives the name of a device that went away to
// another: of says whose the directory has to be, and meant looks whether it is.
type order struct {
	dir, name, value string
	of               string
	meant            func(*host.Directory) error
}

func (o order) key() string {
	return fmt.Sprintf("write %q to %s of %s", o.value, filepath.Join(o.dir, o.name), o.of)
}

// write gives an order through the directory in which it was looked whose that is, so that it reaches no other
// device.
func (c *calls) write(ctx context.Context, o order) error {
	_, err := c.writes.do(ctx, o.key(), func() (struct{}, error) {
		dir, err := host.OpenDirectory(o.dir)
		if err != nil {
			return struct{}{}, err
		}
		defer dir.Close()
		if err := o.meant(dir); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, c.attrs.Write(dir, o.name, o.value)
	})
	return err
}

// to is an order to a controller. It ends in fs.ErrNotExist or ENODEV where that is gone, its name perhaps
// another's.
func (t tree) to(c controller, name, value string) order {
	return order{
		dir: c.dir, name: name, value: value, of: fmt.Sprintf("%s %s %v", c.nqn, c.hostNQN, c.id),
		meant: func(dir *host.Directory) error {
			id, err := dir.ID()
			if err != nil {
				return err
			}
			if id != c.id {
				return fmt.Errorf("%s is another controller now: %w", c.name, fs.ErrNotExist)
			}
			return t.has(dir, "subsysnqn", c.nqn)
		},
	}
}

// has is nil if an attribute has the value.
func (t tree) has(dir *host.Directory, name, want string) error {
	got, err := attribute(t.attrs, dir, name)
	if err == nil && got != want {
		err = fmt.Errorf("%s is another device now, whose %s is %s: %w", dir.Path(), name, got, fs.ErrNotExist)
	}
	return err
}

func (h *Host) tell(ctx context.Context, c controller, name, value string) error {
	return h.calls.write(ctx, h.tree.to(c, name, value))
}

// deleting tells whether the removal of a controller was asked for, and that has not come back yet.
func (h *Host) deleting(c controller) bool {
	return h.calls.writes.running(h.tree.to(c, deleteAttribute, "1").key())
}

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

package nvme

import (
	"context"

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

func (c *calls) write(ctx context.Context, path, value string) error {
	_, err := c.writes.do(ctx, "write "+path, func() (struct{}, error) {
		return struct{}{}, c.attrs.Write(path, value)
	})
	return err
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

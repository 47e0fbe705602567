package nvme

import (
	"context"
	"errors"
	"path/filepath"
)

// headGrace is how long the kernel keeps a multipath head after its last controller is gone, in
// seconds, where it can: an array that refuses connects while it boots makes kernels from 6.5 on
// remove the controller at once (facts/nvme.md §0.1), and what is mounted then lives on if the node
// connects again in time.
const headGrace = "60"

// keepHead makes the kernel wait with the removal of the controller's head. Kernels before 6.16 lack
// the attribute, and a device without a head of its own has none.
func (h *Host) keepHead(ctx context.Context, c controller) error {
	return h.delayRemoval(ctx, c, headGrace)
}

// dropHead makes the head go together with the controller. A head that stays would queue writes
// for a session that must not come, and keep its identifiers from the next one.
func (h *Host) dropHead(ctx context.Context, c controller) error { return h.delayRemoval(ctx, c, "0") }

func (h *Host) delayRemoval(ctx context.Context, c controller, seconds string) error {
	disks, err := h.tree.disks(c)
	if _, known := errors.AsType[errUnusable](err); known {
		return nil
	}
	if err != nil {
		return err
	}
	for _, d := range disks {
		path := filepath.Join(d.dir, "delayed_removal_secs")
		now, err := h.tree.attrs.Read(path)
		if vanished(err) || err == nil && now == seconds || !d.shared {
			continue
		}
		if err == nil {
			err = h.calls.write(ctx, path, seconds)
		}
		if err != nil && !vanished(err) {
			return err
		}
	}
	return nil
}

package nvme

import (
	"context"
	"errors"
	"os"
	"path/filepath"
)

// headGrace is how long the kernel keeps a multipath head after its last controller is gone, in
// seconds, where it can: an array that refuses connects while it boots makes kernels from 6.5 on
// remove the controller at once (facts/nvme.md §0.1), and what is mounted then lives on if the node
// connects again in time.
const headGrace = "60"

// keepHead makes the kernel wait with the removal of a head.
func (h *Host) keepHead(ctx context.Context, d Device) error {
	return h.delayRemoval(ctx, []string{d.dir}, headGrace)
}

// dropHeads makes them go together with their last controller, or now if it has gone already. A head
// that stays would queue writes for a session that must not come, and keep its identifiers from the
// next one.
func (h *Host) dropHeads(ctx context.Context, nqn string) error {
	heads, err := h.tree.headsOf(nqn)
	if err != nil {
		return err
	}
	return h.delayRemoval(ctx, heads, "0")
}

// delayRemoval sets the attribute of heads, given by their directories. Kernels before 6.16 lack it, and a
// device without a head of its own has none.
func (h *Host) delayRemoval(ctx context.Context, heads []string, seconds string) error {
	for _, dir := range heads {
		path := filepath.Join(dir, "delayed_removal_secs")
		now, err := h.tree.attrs.Read(path)
		if vanished(err) || err == nil && now == seconds {
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

// headsOf lists the directories of the heads below the subsystems of an NQN.
func (t tree) headsOf(nqn string) ([]string, error) {
	entries, err := t.class("nvme-subsystem")
	if err != nil {
		return nil, err
	}
	var heads []string
	for _, e := range entries {
		dir := filepath.Join(t.sys, "class/nvme-subsystem", e.Name())
		found, err := attribute(t.attrs, dir, "subsysnqn")
		if errors.Is(err, errGone) || err == nil && found != nqn {
			continue
		}
		if err != nil {
			return nil, err
		}
		members, err := os.ReadDir(dir)
		if err != nil && !vanished(err) {
			return nil, err
		}
		for _, m := range members {
			if diskName.MatchString(m.Name()) {
				heads = append(heads, filepath.Join(dir, m.Name()))
			}
		}
	}
	return heads, nil
}

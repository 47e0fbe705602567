package nvme

import (
	"context"
	"errors"
	"path/filepath"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// headGrace is how long the kernel keeps a multipath head after its last controller is gone, in
// seconds, where it can: an array that refuses connects while it boots makes kernels from 6.5 on
// remove the controller at once (facts/nvme.md §0.1), and what is mounted then lives on if the node
// connects again in time.
const headGrace = "60"

// keepHead makes the kernel wait with the removal of a head.
func (h *Host) keepHead(ctx context.Context, nqn string, d Device) error {
	return h.delayRemoval(ctx, nqn, []string{d.dir}, headGrace)
}

// dropHeads makes them go together with their last controller, or now if it has gone already. A head
// that stays would queue writes for a session that must not come, and keep its identifiers from the
// next one.
func (h *Host) dropHeads(ctx context.Context, nqn string) error {
	heads, err := h.tree.headsOf(nqn)
	if err != nil {
		return err
	}
	return h.delayRemoval(ctx, nqn, heads, "0")
}

// delayRemoval sets the attribute of heads, given by their directories. Kernels before 6.16 lack it, and a
// device without a head of its own has none.
func (h *Host) delayRemoval(ctx context.Context, nqn string, heads []string, seconds string) error {
	for _, dir := range heads {
		if err := h.delayOne(ctx, nqn, dir, seconds); err != nil && !vanished(err) {
			return err
		}
	}
	return nil
}

func (h *Host) delayOne(ctx context.Context, nqn, head, seconds string) error {
	const attr = "delayed_removal_secs"
	dir, err := host.OpenDirectory(head)
	if err != nil {
		return err
	}
	defer dir.Close()
	now, err := h.tree.attrs.Read(dir, attr)
	if err != nil || now == seconds {
		return err
	}
	return h.calls.write(ctx, order{
		dir: head, name: attr, value: seconds, of: nqn,
		meant: func(dir *host.Directory) error { return h.tree.has(dir, "../subsysnqn", nqn) },
	})
}

// headsOf lists the directories of the heads below the subsystems of an NQN.
func (t tree) headsOf(nqn string) ([]string, error) {
	entries, err := t.class("nvme-subsystem")
	if err != nil {
		return nil, err
	}
	var heads []string
	for _, e := range entries {
		found, err := t.headsIn(filepath.Join(t.sys, "class/nvme-subsystem", e.Name()), nqn)
		if err != nil && !errors.Is(err, errGone) {
			return nil, err
		}
		heads = append(heads, found...)
	}
	return heads, nil
}

// headsIn lists those of one subsystem; none of another NQN's.
func (t tree) headsIn(subsystem, nqn string) ([]string, error) {
	dir, err := open(subsystem)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	found, err := attribute(t.attrs, dir, "subsysnqn")
	if err != nil || found != nqn {
		return nil, err
	}
	names, err := namesOf(dir, diskName)
	if err != nil && !vanished(err) {
		return nil, err
	}
	var heads []string
	for _, name := range names {
		heads = append(heads, filepath.Join(subsystem, name))
	}
	return heads, nil
}

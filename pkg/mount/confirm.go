package mount

import (
	"context"
	"fmt"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// confirm looks at a mount that was just made: mount(2) took a name, this compares what the mount
// table says, and whose device it is by now. What is not as it should be is taken down again. The target is
// a Canonical path.
func (m *Mounter) confirm(ctx context.Context, target string, created bool, same func(host.MountPoint) error, live Alive) error {
	there, found, err := m.topmost(target)
	if err == nil && !found {
		err = fault.Errorf("", fault.MountFailed, "the kernel took the mount, but it is not in the mount table")
	}
	if err == nil {
		err = same(there)
	}
	if err == nil {
		// Asked to the end, also for a caller that has gone: an identity that nobody looked at is no
		// reason to take a good mount down again.
		if err = live.ask(context.WithoutCancel(ctx)); err != nil {
			err = fault.Reclassify(fmt.Errorf("the device is the volume's no longer, or nobody can tell: %w", err), fault.Unavailable)
		}
	}
	if err == nil {
		return nil
	}
	if undo := m.kernel.Unmount(target); undo != nil {
		return leftBehind(err, undo)
	}
	return m.forget(err, target, created)
}

// forget removes a target that this call made, after cause kept it from being mounted. While
// something is mounted there, or might be, it is left and the answer is Unavailable: a final one
// would promise that nothing is left (design.md §6 rule 11).
func (m *Mounter) forget(cause error, target string, created bool) error {
	there, found, err := m.At(target)
	if err == nil && found {
		err = fmt.Errorf("%s of device %s is mounted there", there.Root, there.Dev)
	}
	if err == nil && created {
		_, err = removeTarget(target)
	}
	if err != nil {
		return leftBehind(cause, err)
	}
	return cause
}

func leftBehind(cause, undo error) error {
	return fault.Reclassify(fmt.Errorf("%w (and it could not be undone: %w)", cause, undo), fault.Unavailable)
}

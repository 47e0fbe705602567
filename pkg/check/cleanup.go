package check

import (
	"context"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// cleanUp takes everything away: connections first, then the volume. It runs whatever happened before, also
// after Ctrl-C, and says by which commands the rest can be removed where it cannot.
func (t *trial) cleanUp(ctx context.Context) {
	const subject = "clean-up"
	t.found.show("           cleaning up, which takes minutes where the array does not answer ...\n")
	connections := true
	for _, s := range t.made {
		if err := t.disconnect(ctx, s); err != nil {
			connections = false
			t.found.add(Failed, subject, "nvme disconnect -n "+s.nqn, "a connection of this machine is left: %v", err)
		}
	}
	left, err := t.remove(ctx)
	if err == nil && left == (rds.Left{}) && t.lost {
		left, err = t.removeLate(ctx)
	}
	byHand := "on the array: /disk print where slot=" + t.scratch.Slot() + "; set nvme-tcp-export=no and remove it, then remove /" +
		t.scratch.Pool().MountPoint + "/" + t.scratch.Slot() + " (a subvolume on Btrfs)"
	switch {
	case err != nil:
		t.found.add(Failed, subject, byHand, "the scratch volume may be left on the array: %v", err)
	case left != (rds.Left{}):
		t.found.add(Failed, subject, byHand, "of the scratch volume %d disks and %d files and directories are left on the array", left.Disks, left.Files)
	case connections:
		t.found.ok(subject, "nothing of the scratch volume is left")
	}
}

// remove tries again while the array does not answer, or something of the volume is left.
func (t *trial) remove(ctx context.Context) (left rds.Left, err error) {
	for range removals {
		if t.await(ctx, func() bool { left, err = t.removeOnce(ctx); return denied(err) || err == nil && left == (rds.Left{}) }) {
			break
		}
	}
	return left, err
}

// removals is how often Patience is had: an array that reboots is away for minutes.
const removals = 6

func (t *trial) removeOnce(ctx context.Context) (rds.Left, error) {
	ctx, cancel := context.WithTimeout(ctx, t.Patience)
	defer cancel()
	return t.scratch.Remove(ctx)
}

// removeLate is for an array that may still be at work on a command whose answer was lost: it could make
// the volume after it was found to be gone.
func (t *trial) removeLate(ctx context.Context) (rds.Left, error) {
	timer := time.NewTimer(t.Settle)
	defer timer.Stop()
	<-timer.C
	return t.remove(ctx)
}

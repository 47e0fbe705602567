package nvme

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// Revoke removes the controllers of an NQN although something may use their devices: what is not
// written yet is lost, and whoever waits for it gets an I/O error. That is right only where the
// attachment is proven to be revoked, so that those writes must never arrive (design.md §6 rule 7);
// the proof is the caller's. It is nil only when sysfs shows none of them any more.
func (h *Host) Revoke(ctx context.Context, nqn, hostNQN string, reason telemetry.DisconnectReason) error {
	op := "revoke " + nqn
	if err := h.settled(ctx, nqn, hostNQN); err != nil {
		return fault.E(op, fault.Unavailable, err)
	}
	ours, err := h.tree.of(nqn, hostNQN)
	if err != nil {
		return fault.E(op, fault.Unavailable, err)
	}
	if err := h.dropHeads(ctx, nqn); err != nil {
		return fault.E(op, fault.Unavailable, err)
	}
	if len(ours) == 0 {
		return nil
	}
	err = h.disconnecting(ctx, ours[0], reason, func(ctx context.Context) error { return h.revokeAll(ctx, nqn, hostNQN) })
	return fault.Wrap(op, err)
}

// revokeAll asks for the removal of every controller that is not going yet, and says what is left.
func (h *Host) revokeAll(ctx context.Context, nqn, hostNQN string) error {
	ours, err := h.tree.of(nqn, hostNQN)
	if err != nil {
		return err
	}
	for _, c := range ours {
		if strings.HasPrefix(c.state, stateDeleting) {
			continue
		}
		if err := ctx.Err(); err != nil { // the caller has gone: revoke nothing behind its back
			return errStop{err}
		}
		err := h.tell(ctx, c, deleteAttribute, "1")
		if err != nil && !vanished(err) && !errors.Is(err, unix.EBUSY) && ctx.Err() == nil {
			return errStop{err}
		}
	}
	if ours, err = h.tree.of(nqn, hostNQN); err == nil && len(ours) > 0 {
		err = fmt.Errorf("controller %s is %s", ours[0].name, ours[0].state)
	}
	return err
}

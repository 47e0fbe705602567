package nvme

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// request joins the attempt for this connection or starts one. Only waiting for the turn can be
// cancelled; once begun the write runs to its end.
func (h *Host) request(ctx context.Context, t Target, p Portal) (*attempt, error) {
	key := keyOf(t, p)
	for {
		if a, err := h.attempts.join(ctx, key); a != nil || err != nil {
			return a, err
		}
		if err := h.turn.Acquire(ctx, 1); err != nil {
			return nil, context.Cause(ctx)
		}
		if a := h.attempts.begin(key); a != nil {
			go h.create(context.WithoutCancel(ctx), a, t, p)
			return a, nil
		}
		h.turn.Release(1)
	}
}

// create holds the turn until the kernel has answered and what nobody wants is gone again.
func (h *Host) create(ctx context.Context, a *attempt, t Target, p Portal) {
	defer h.turn.Release(1)
	name, err := h.write(t, p)
	if h.attempts.finish(a, name, err) {
		h.takeDown(ctx, a)
	}
}

// write makes the controller and gives its name.
func (h *Host) write(t Target, p Portal) (string, error) {
	known, err := h.options.get(h.fabrics)
	if err != nil {
		return "", err
	}
	hostID, err := h.hostID(t)
	if err != nil {
		return "", err
	}
	text, err := optionString(t, p, hostID, known)
	if err != nil {
		return "", err
	}
	answer, err := h.createRetrying(text)
	if errors.Is(err, unix.EINVAL) {
		return "", fmt.Errorf("%w (asked with %s)", err, describe(t.Options.parameters()))
	}
	if err != nil {
		return "", err
	}
	return parseInstance(answer)
}

// createRetrying repeats after EINTR, which leaves nothing behind, within the time one connect
// may take (facts/nvme.md §1.2).
func (h *Host) createRetrying(text string) (string, error) {
	start := time.Now()
	for {
		answer, err := h.fabrics.Create(text)
		if !errors.Is(err, unix.EINTR) || time.Since(start) > h.connect {
			return answer, err
		}
	}
}

// hostID is t's, unless a controller of this machine has the host NQN with another: kernels
// from 6.5 on refuse to mix them (facts/nvme.md §1.2, §4 rule 7).
func (h *Host) hostID(t Target) (string, error) {
	id := t.HostID
	err := h.tree.each("", func(c controller) (more bool) { // nearly always the first tells
		if c.hostNQN == t.HostNQN && c.hostID != "" {
			id = c.hostID
			return false
		}
		return true
	})
	return id, err
}

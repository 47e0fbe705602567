package nvme

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// takeDownTimeout bounds the removal of a controller nobody wants.
const takeDownTimeout = 30 * time.Second

// session is a live controller for the rest of a call. attempt is nil for an adopted one.
type session struct {
	controller string
	attempt    *attempt
}

// session finds or makes the controller for one portal. A session with an attempt is the
// caller's to release or roll back, also beside an error.
func (h *Host) session(ctx context.Context, t Target, p Portal, number int, wake <-chan struct{}) (s session, err error) {
	c, there, err := h.existing(t, p)
	if err != nil {
		return session{}, err
	}
	if there && c.state == stateLive && !h.attempts.has(keyOf(t, p)) {
		return h.adopt(ctx, t, p, c.name, wake)
	}
	start := time.Now()
	ctx, span := telemetry.Start(ctx, "nvme.connect", telemetry.Client, telemetry.ServerAddress(p.Address),
		telemetry.ServerPort(p.Port), telemetry.TransportTCP(), telemetry.NQN(t.NQN), telemetry.Attempt(number))
	defer func() {
		if s.controller != "" {
			span.Set(telemetry.Controller(s.controller))
		}
		span.End(err)
		h.metrics.RecordNVMeConnect(ctx, err, time.Since(start))
	}()
	if there && !h.attempts.has(keyOf(t, p)) {
		return h.adopt(ctx, t, p, c.name, wake)
	}
	return h.dial(ctx, t, p, wake)
}

func keyOf(t Target, p Portal) attemptKey {
	return attemptKey{nqn: t.NQN, hostNQN: t.HostNQN, portal: p}
}

// existing finds the controller that the kernel would answer EALREADY for.
func (h *Host) existing(t Target, p Portal) (controller, bool, error) {
	ours, err := h.tree.of(t.NQN, t.HostNQN)
	if err != nil {
		return controller{}, false, fault.E("look at sysfs", fault.Unavailable, err)
	}
	for _, c := range ours {
		if !c.going() && c.portal.same(p) {
			return c, true, nil
		}
	}
	return controller{}, false, nil
}

// dial makes a new controller: first a plain TCP connect, so that a target that is away does
// not hold up the kernel's one connect at a time (facts/nvme.md §0.3), then the write.
func (h *Host) dial(ctx context.Context, t Target, p Portal, wake <-chan struct{}) (session, error) {
	if err := h.modules.ensure(ctx); err != nil {
		return session{}, err
	}
	if err := h.predial(ctx, p); err != nil {
		return session{}, err
	}
	a, err := h.request(ctx, t, p)
	if err != nil {
		return session{}, fault.Wrap("wait for other connects of this node", err)
	}
	s := session{attempt: a}
	select {
	case <-a.written:
	case <-ctx.Done():
		class := ended(ctx, fault.NVMeConnectTimeout)
		return s, fault.Errorf("create the controller", class, "the kernel has not answered: %w", context.Cause(ctx))
	}
	s.controller = a.controller
	if a.err == nil {
		return s, nil
	}
	h.release(ctx, s, false)
	if errors.Is(a.err, unix.EALREADY) {
		return h.adoptOther(ctx, t, p, wake)
	}
	return session{}, refused(a.err)
}

func (h *Host) predial(ctx context.Context, p Portal) (err error) {
	ctx, span := telemetry.Start(ctx, "nvme.predial", telemetry.Client, telemetry.ServerAddress(p.Address), telemetry.ServerPort(p.Port))
	defer func() { span.End(err) }()
	conn, err := h.dialer.DialContext(ctx, "tcp", p.String())
	if err != nil {
		return predialFailed(ctx, err)
	}
	return conn.Close()
}

// adoptOther adopts what the kernel said is there already.
func (h *Host) adoptOther(ctx context.Context, t Target, p Portal, wake <-chan struct{}) (session, error) {
	c, there, err := h.existing(t, p)
	if err != nil {
		return session{}, err
	}
	if !there {
		return session{}, fault.Errorf("create the controller", fault.Unavailable,
			"the kernel says it is connected already, but sysfs shows no such controller: it is coming or going; try again")
	}
	return h.adopt(ctx, t, p, c.name, wake)
}

// release ends this call's part in an attempt. Where that leaves a controller nobody wants it is
// taken down in the background.
func (h *Host) release(ctx context.Context, s session, keep bool) {
	if s.attempt != nil && h.attempts.leave(s.attempt, keep) {
		go h.takeDown(context.WithoutCancel(ctx), s.attempt)
	}
}

// rollback takes down what this call made and then gives cause; if that cannot be awaited or
// fails, the error is Unavailable (design.md §6 rule 11).
func (h *Host) rollback(ctx context.Context, s session, cause error) error {
	if s.attempt == nil {
		return cause
	}
	h.release(ctx, s, false)
	select {
	case <-s.attempt.over:
	case <-ctx.Done():
		return fault.Errorf("", fault.Unavailable, "%w; what the kernel may still make is taken down in the background", cause)
	}
	if s.attempt.left != nil {
		return fault.Errorf("", fault.Unavailable, "%w; the controller could not be taken down: %w", cause, s.attempt.left)
	}
	return cause
}

// takeDown removes a controller that this process made and nobody wants.
func (h *Host) takeDown(ctx context.Context, a *attempt) {
	ctx, cancel := context.WithTimeout(ctx, takeDownTimeout)
	defer cancel()
	err := h.dismiss(ctx, a)
	if err != nil {
		h.logFailure(ctx, "take down the unwanted controller "+a.controller, err)
	}
	h.attempts.end(a, err)
}

func (h *Host) logFailure(ctx context.Context, what string, err error) {
	h.log.Warn(what, append(telemetry.LogFields(ctx), zap.Error(err))...)
}

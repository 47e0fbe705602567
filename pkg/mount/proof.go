package mount

import (
	"context"
	"errors"
	"fmt"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// refusal is why mkfs does not run.
type refusal struct {
	decision telemetry.FormatDecision
	err      error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// proof collects what has to hold before mkfs may run. Each step refuses on anything but a
// positive answer, so that what is forgotten or unknown ends in a refusal.
type proof struct {
	m       *Mounter
	r       FormatRequest
	found   string // file system, for the span
	outcome FormatOutcome
}

// prove gives an open device when mkfs shall run now, nil when the wanted file system is there,
// and a refusal for everything else.
func (p *proof) prove(ctx context.Context) (host.Device, error) {
	interrupted := p.r.Journal.Formatting() && !p.r.Journal.Formatted()
	claimed, info, err := p.claim(ctx, interrupted)
	if err != nil {
		return nil, err
	}
	defer claimed.Close() // right before mkfs: it takes a claim of its own
	if err := p.live(ctx); err != nil {
		return nil, err
	}
	if interrupted {
		err = p.undoInterrupted(ctx, claimed, info)
	} else {
		var done bool
		if done, err = p.look(ctx, claimed, info); done {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	return p.commit(ctx)
}

// look is done when the wanted file system is there, and nil when nothing was ever written.
func (p *proof) look(ctx context.Context, device host.Device, info host.BlockInfo) (done bool, err error) {
	if p.r.Blank { // this driver made the volume: nearly always it has what is asked for, or nothing
		head, err := p.m.head(ctx, p.r, device, info.Size)
		if c, ok := recognise(head, p.r.FSType, info.Size); err == nil && ok {
			p.found, p.outcome = p.r.FSType, FormatOutcome{Clean: c.clean, Full: true}
			return true, nil
		}
		switch {
		case err == nil && allZero(head):
			return p.lookAndSurvey(ctx, device, info)
		case err != nil && ctx.Err() != nil:
			return false, &refusal{telemetry.FormatRefusedUnreadable, err}
		} // what cannot be read is found again below
	}
	if done, err = p.lookForFilesystem(ctx); done || err != nil {
		return done, err
	}
	return false, p.blank(ctx, info, p.survey(ctx, device, info))
}

// lookAndSurvey reads while blkid looks. Both have ended when it returns, or ctx has: the device is closed
// after that, and only then free.
func (p *proof) lookAndSurvey(ctx context.Context, device host.Device, info host.BlockInfo) (done bool, err error) {
	cancellable, cancel := context.WithCancel(ctx)
	defer cancel()
	surveyed := make(chan error, 1)
	go func() { surveyed <- p.survey(cancellable, device, info) }()
	if done, err = p.lookForFilesystem(ctx); !done && err == nil {
		return false, p.blank(ctx, info, <-surveyed)
	}
	cancel()
	<-surveyed
	_ = p.m.deviceCalls.over(ctx, p.r.Device)
	return done, err
}

// live asks for the identity, which only the connector knows.
func (p *proof) live(ctx context.Context) error {
	if err := p.r.Live.ask(ctx); err != nil {
		return &refusal{telemetry.FormatRefusedIdentity, err}
	}
	return nil
}

func (p *proof) claim(ctx context.Context, write bool) (host.Device, host.BlockInfo, error) {
	claimed, info, err := p.m.claim(ctx, p.r.Device, p.r.Num, write)
	switch {
	case err == nil:
	case fault.KindOf(err) == fault.Busy:
		return nil, info, &refusal{telemetry.FormatRefusedInUse, err}
	case errors.Is(err, errOtherDevice):
		return nil, info, &refusal{telemetry.FormatRefusedIdentity, err}
	default:
		return nil, info, &refusal{telemetry.FormatRefusedUnreadable, err}
	}
	if info.Size == 0 || info.Size < p.r.Size {
		claimed.Close()
		return nil, info, &refusal{telemetry.FormatRefusedIdentity, fault.Errorf("compare sizes", fault.Unavailable,
			"the device has %d bytes, the volume has at least %d", info.Size, p.r.Size)}
	}
	return claimed, info, nil
}

// lookForFilesystem is done when the wanted file system is there, and nil when blkid saw nothing.
func (p *proof) lookForFilesystem(ctx context.Context) (done bool, err error) {
	found, any, err := p.m.identify(ctx, p.r.Device)
	if err != nil {
		return false, &refusal{telemetry.FormatRefusedUnreadable, toolError("look for a file system", fault.Unavailable, err)}
	}
	if !any {
		return false, nil
	}
	p.found = found.Type
	if found == (signature{Type: p.r.FSType}) {
		return true, nil
	}
	return false, notBlank("found %s, wanted %s; nothing was changed. Ask for the file system that is there, or, "+
		"if its data can go, delete the volume and make a new one", found, p.r.FSType)
}

func notBlank(format string, args ...any) error {
	return &refusal{telemetry.FormatRefusedNotBlank, fault.Errorf("look for a file system", fault.FSNotBlank, format, args...)}
}

// survey reads where something may have been written.
func (p *proof) survey(ctx context.Context, device host.Device, info host.BlockInfo) error {
	return p.m.onDevice(ctx, p.r.Device, func() error { return surveyZero(ctx, device, surveyed(info.Size)) })
}

// blank is nil when the survey proved that nothing was ever written to the device, and it may be.
func (p *proof) blank(ctx context.Context, info host.BlockInfo, err error) error {
	switch {
	case err == nil && p.r.Journal.Formatted():
		return &refusal{telemetry.FormatRefusedIdentity, fault.Errorf("look for a file system", fault.FSNotBlank, "the device "+
			"had a file system under this very attachment and now reads as zeros; nothing was changed. See on the array whether the volume's "+
			"file was replaced, and restore it; if the data can go, delete the volume and make a new one")}
	case err == nil:
		return p.allowed(info)
	}
	if _, ok := errors.AsType[*errNotZero](err); ok {
		return notBlank("no file system was found, but %w. It is not formatted. If this is what an interrupted mkfs on another node "+
			"left behind, or data that can go: delete the volume and make a new one, or zero it by hand (blkdiscard -z %s) on this node", err, p.r.Device)
	}
	return &refusal{telemetry.FormatRefusedUnreadable, p.unreadable(ctx, err)}
}

// unreadable tells a device with a place that cannot be read from one that is away, and may be read later.
func (p *proof) unreadable(ctx context.Context, cause error) error {
	if ctx.Err() != nil || p.r.Live.ask(ctx) != nil {
		return cause
	}
	return fault.Reclassify(fmt.Errorf("%w; its array answers, but not for all of it, so it is not formatted. See whether the array's disks are well", cause), fault.Precondition)
}

// allowed says whether anybody declared that the device may be written to.
func (p *proof) allowed(info host.BlockInfo) error {
	switch {
	case !p.r.Blank:
		return notBlank("no file system was found, and the volume was not created blank by this driver (it has a source, or its "+
			"PersistentVolume was written by hand), so none is made. If it shall have one: mkfs.%s by hand, once", p.r.FSType)
	case p.r.ReadOnly:
		return notBlank("no file system was found, and the volume is asked read-only, so none is made. Use it writable once")
	case info.ReadOnly:
		return notBlank("no file system was found, and the device is read-only, so none can be made")
	default:
		return nil
	}
}

// undoInterrupted clears what an mkfs left that this node began, for this very NQN, and never
// finished. The volume was never mounted in between, so there is nothing to lose.
func (p *proof) undoInterrupted(ctx context.Context, device host.Device, info host.BlockInfo) error {
	if err := p.allowed(info); err != nil {
		return err
	}
	if err := p.live(ctx); err != nil {
		return err
	}
	if err := p.m.wipeSurveyed(ctx, p.r.Device, device, info.Size); err != nil {
		return &refusal{telemetry.FormatRefusedUnreadable, fmt.Errorf("wipe the interrupted mkfs: %w", err)}
	}
	found, any, err := p.m.identify(ctx, p.r.Device)
	if err != nil {
		return &refusal{telemetry.FormatRefusedUnreadable, toolError("look at the wiped device", fault.Unavailable, err)}
	}
	if any {
		return notBlank("an interrupted mkfs was wiped, and still %s is found", found)
	}
	return nil
}

// commit writes the record and makes sure of the identity on both sides of it.
func (p *proof) commit(ctx context.Context) (pin host.Device, err error) {
	pin, err = p.m.open(ctx, p.r.Device, false, false)
	if err != nil {
		return nil, &refusal{telemetry.FormatRefusedUnreadable, fault.E("open", fault.Unavailable, err)}
	}
	defer func() {
		if err != nil {
			pin.Close()
			pin = nil
		}
	}()
	if _, err := verify(pin, p.r.Num); err != nil {
		return pin, &refusal{telemetry.FormatRefusedIdentity, err}
	}
	if err := p.live(ctx); err != nil {
		return pin, err
	}
	if err := p.r.Journal.Begin(p.r.FSType); err != nil {
		return pin, &refusal{telemetry.FormatRefusedIdentity, fault.E("note that mkfs begins", fault.Unavailable, err)}
	}
	return pin, p.live(ctx)
}

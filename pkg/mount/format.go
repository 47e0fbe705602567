package mount

import (
	"context"
	"errors"
	"fmt"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// FormatJournal is this node's own record about one attachment (one NQN) of a volume. It is what
// tells an interrupted mkfs from data.
type FormatJournal interface {
	// Formatting tells whether Begin was called for this very NQN and Done never.
	Formatting() bool
	// Formatted tells whether a file system was made or found under this very NQN before. A device
	// that then reads as zeros is not blank: it lost its data, or is another volume.
	Formatted() bool
	// Begin SHALL be on disk when it returns: mkfs starts right after.
	Begin(fsType string) error
	// Done says that a complete file system is there; from now on nothing may ever wipe it.
	Done() error
}

// FormatRequest asks for a file system on a device.
type FormatRequest struct {
	Device   string      // path of the device node
	Num      host.DevNum // what the device must be
	FSType   string      // "" is DefaultFSType
	Size     uint64      // bytes the device must have at least
	Blank    bool        // CreateVolume made the volume without a source
	ReadOnly bool
	// Live SHALL fail unless the controller is live and the device is the volume's. It is asked, while
	// the device is held, before the probe; and before mkfs after the probe and once more right before.
	Live    Alive
	Journal FormatJournal
}

// FormatOutcome is what EnsureFormatted did and came to know. What it does not know is false.
type FormatOutcome struct {
	Formatted bool // the file system was made by this call
	Clean     bool // it needs no Check
	Full      bool // it fills the device: it needs no Grow
}

// EnsureFormatted finds the wanted file system on the device, or makes it, but only on the full
// proof of design.md §6 rule 2. Another file system, a partition table or any data is refused with
// FSNotBlank. A device that is mounted is refused with Busy: ask At first.
func (m *Mounter) EnsureFormatted(ctx context.Context, r FormatRequest) (o FormatOutcome, err error) {
	op := "find or make a file system on " + r.Device
	if r.FSType, err = fsTypeOf(op, r.FSType); err != nil {
		return o, err
	}
	pin, o, err := m.decideFormat(ctx, op, r)
	if err != nil || pin == nil {
		return o, err
	}
	defer pin.Close()
	if err := m.mkfs(ctx, r.Device, r.FSType); err != nil {
		return o, err
	}
	if o.Full, err = m.confirmFormat(ctx, r, pin); err != nil {
		return o, fault.Wrap(op, err)
	}
	o.Formatted, o.Clean = true, true
	return o, fault.Wrap("note that "+r.Device+" is formatted", r.Journal.Done())
}

// decideFormat is the step fs.probe. It gives an open device where mkfs shall run: that keeps the
// kernel from giving the name to another disk until mkfs is done. Without one there is nothing to do.
func (m *Mounter) decideFormat(ctx context.Context, op string, r FormatRequest) (pin host.Device, o FormatOutcome, err error) {
	ctx, span := telemetry.Start(ctx, "fs.probe", telemetry.Internal, telemetry.Device(r.Device))
	defer func() { span.End(err) }()
	p := &proof{m: m, r: r}
	decision, reason := telemetry.FormatAlready, r.FSType+" is there"
	pin, err = p.prove(ctx)
	if pin != nil {
		decision, reason = telemetry.FormatDone, "proven blank"
	}
	if refused, ok := errors.AsType[*refusal](err); ok {
		decision, reason, err = refused.decision, refused.err.Error(), fault.Wrap(op, refused.err)
	}
	if p.found != "" {
		span.Set(telemetry.FilesystemType(p.found))
	}
	m.noteDecision(ctx, r.Device, decision, reason)
	return pin, p.outcome, err
}

func (m *Mounter) noteDecision(ctx context.Context, device string, decision telemetry.FormatDecision, reason string) {
	m.metrics.RecordFormatDecision(ctx, decision)
	telemetry.Event(ctx, m.log, "rds_csi.format.decision", telemetry.DecisionAttr(decision), telemetry.ReasonAttr(reason), telemetry.Device(device))
}

// confirmFormat looks again after mkfs ended with 0, at the device, which is held open, and not at what
// mkfs said. What it does not recognise itself, blkid may. full is whether it fills the device.
func (m *Mounter) confirmFormat(ctx context.Context, r FormatRequest, device host.Device) (full bool, err error) {
	if err := r.Live.ask(ctx); err != nil {
		return false, err
	}
	info, err := device.Info()
	if err != nil {
		return false, fault.E("look at the new file system", fault.Unavailable, err)
	}
	head, err := m.head(ctx, r, device, info.Size)
	if err != nil {
		return false, fault.Wrap("look at the new file system", err)
	}
	if c, ok := recognise(head, r.FSType, info.Size); ok && c.clean {
		return true, nil
	}
	found, any, err := m.identify(ctx, r.Device)
	if err != nil {
		return false, toolError("look at the new file system", fault.Unavailable, err)
	}
	if !any || found != (signature{Type: r.FSType}) {
		return false, fault.Errorf("look at the new file system", fault.MkfsFailed, "mkfs.%s ended well, but blkid finds %q", r.FSType, found)
	}
	return false, nil
}

// head is the first lookBytes of a device, or all of a smaller one. What recognise does not look at was not
// read, and is zero.
func (m *Mounter) head(ctx context.Context, r FormatRequest, device host.Device, size uint64) ([]byte, error) {
	head := make([]byte, min(lookBytes, size))
	err := m.onDevice(ctx, r.Device, func() error {
		for _, at := range clip(lookedAt(r.FSType), uint64(len(head))) {
			piece := head[at.off:][:at.len]
			if n, err := device.ReadAt(piece, int64(at.off)); n < len(piece) {
				return fmt.Errorf("read %d bytes at %d: got %d: %w", len(piece), at.off, n, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err // not head: the read may go on
	}
	return head, nil
}

// WipeInterrupted zeroes the places where an interrupted mkfs left its marks, and those where the proof of a
// blank device looks, for the NodeUnstage of a record that says formatting: mkfs.btrfs hits some of them. It refuses with Busy while mkfs or anything else holds the device,
// and writes only after live, asked while the device is held, has said whose it is.
// Blocks between those places may stay, which nobody will look at.
func (m *Mounter) WipeInterrupted(ctx context.Context, device string, num host.DevNum, live Alive) error {
	op := "wipe the interrupted mkfs on " + device
	claimed, info, err := m.claim(ctx, device, num, true)
	if err != nil {
		return fault.Wrap(op, err)
	}
	defer claimed.Close()
	if err := live.ask(ctx); err != nil {
		return fault.Wrap(op, err)
	}
	return fault.Wrap(op, m.wipeSurveyed(ctx, device, claimed, info.Size))
}

func (m *Mounter) wipeSurveyed(ctx context.Context, path string, device host.Device, size uint64) error {
	return m.onDevice(ctx, path, func() error {
		if err := wipe(ctx, device, surveyed(size)); err != nil {
			return err
		}
		return surveyZero(ctx, device, surveyed(size))
	})
}

// onDevice runs call, which reads or writes the device, and leaves it behind when ctx ends first.
func (m *Mounter) onDevice(ctx context.Context, path string, call func() error) error {
	err := m.deviceCalls.do(ctx, path, call)
	if _, notZero := errors.AsType[*errNotZero](err); err == nil || notZero || errors.Is(err, context.Canceled) {
		return err
	}
	return fault.E("", fault.Unavailable, err)
}

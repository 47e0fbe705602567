package mount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// Alive is nil only while the device with that number is still this volume's and its controller is
// live. The kernel gives path and number of a disk that went away to the next one, so they prove
// nothing on their own: Alive is asked while an own descriptor (or a mount) keeps them from moving.
type Alive func(ctx context.Context) error

// ask fails closed where nobody can tell.
func (a Alive) ask(ctx context.Context) error {
	if a == nil {
		return fault.Errorf("ask whose device it is", fault.Internal, "the caller gave no way to tell")
	}
	return a(ctx)
}

// Hold opens a device for the time of several steps: name and number go to no other disk between them, and
// the kernel keeps what one has read for the next. Another device with that name is counted as a refusal to
// format: it would have been, had the look for a file system begun.
func (m *Mounter) Hold(ctx context.Context, path string, num host.DevNum) (io.Closer, error) {
	device, err := m.open(ctx, path, false, false)
	if err != nil {
		return nil, fault.E("open "+path, fault.Unavailable, err)
	}
	if _, err := verify(device, num); err != nil {
		device.Close()
		if errors.Is(err, errOtherDevice) {
			m.noteDecision(ctx, path, telemetry.FormatRefusedIdentity, err.Error())
		}
		return nil, fault.Wrap("open "+path, err)
	}
	return device, nil
}

// pin opens a device and makes sure that it is the volume's. Until it is closed the kernel gives
// neither its name nor its number to another disk.
func (m *Mounter) pin(ctx context.Context, path string, num host.DevNum, live Alive) (host.Device, host.BlockInfo, error) {
	if err := m.growthOver(ctx, path); err != nil {
		return nil, host.BlockInfo{}, err
	}
	return m.pinNow(ctx, path, num, live)
}

// pinNow is pin for the offline growth itself, which pin waits for.
func (m *Mounter) pinNow(ctx context.Context, path string, num host.DevNum, live Alive) (host.Device, host.BlockInfo, error) {
	device, err := m.open(ctx, path, false, false)
	if err != nil {
		return nil, host.BlockInfo{}, fault.E("open", fault.Unavailable, err)
	}
	info, err := verify(device, num)
	if err == nil {
		err = live.ask(ctx)
	}
	if err != nil {
		device.Close()
		return nil, host.BlockInfo{}, err
	}
	return device, info, nil
}

// claim opens a device exclusively and compares its number.
func (m *Mounter) claim(ctx context.Context, path string, num host.DevNum, write bool) (host.Device, host.BlockInfo, error) {
	if err := m.growthOver(ctx, path); err != nil {
		return nil, host.BlockInfo{}, err
	}
	device, err := m.openExclusive(ctx, path, write)
	if err != nil {
		return nil, host.BlockInfo{}, err
	}
	info, err := verify(device, num)
	if err != nil {
		device.Close()
		return nil, host.BlockInfo{}, err
	}
	return device, info, nil
}

// unclaimed says Busy while anything holds the device.
func (m *Mounter) unclaimed(ctx context.Context, path string) error {
	device, err := m.openExclusive(ctx, path, false)
	if err != nil {
		return err
	}
	return fault.E("", fault.Unavailable, device.Close())
}

func (m *Mounter) openExclusive(ctx context.Context, path string, write bool) (host.Device, error) {
	device, err := m.open(ctx, path, true, write)
	if errors.Is(err, unix.EBUSY) {
		return nil, fault.E("open exclusively", fault.Busy, fmt.Errorf("%w: a mount, mkfs or another program holds it", err))
	}
	return device, fault.E("open exclusively", fault.Unavailable, err)
}

// open opens a device, but waits no longer than ctx: open(2) of a device whose controller is
// away can hang. What is opened after that is closed again.
func (m *Mounter) open(ctx context.Context, path string, exclusive, write bool) (host.Device, error) {
	var h handover
	err := m.deviceCalls.do(ctx, path, func() error {
		device, err := m.devices.Open(path, exclusive, write)
		if err != nil {
			return err
		}
		return h.give(device)
	})
	return h.take(err)
}

// handover brings a device from the goroutine that opens it to one that may have gone.
type handover struct {
	mu     sync.Mutex
	device host.Device
	gone   bool
}

func (h *handover) give(device host.Device) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone {
		return device.Close()
	}
	h.device = device
	return nil
}

// take is the end of the wait, with what it brought.
func (h *handover) take(err error) (host.Device, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gone = true
	if err == nil {
		return h.device, nil
	}
	if h.device != nil { // it came at the very moment the wait ended
		h.device.Close()
	}
	return nil, err
}

// errOtherDevice says that a path has come to mean another disk.
var errOtherDevice = errors.New("another device has this name now")

func verify(device host.Device, num host.DevNum) (host.BlockInfo, error) {
	info, err := device.Info()
	if err != nil {
		return info, fault.E("ask for number and size", fault.Unavailable, err)
	}
	if info.Num != num {
		return info, fault.E("compare device numbers", fault.Unavailable, fmt.Errorf("%w: it is %s, the volume is %s", errOtherDevice, info.Num, num))
	}
	return info, nil
}

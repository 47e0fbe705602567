package nvme

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// backing is the loop devices that have a file, by the file's path.
func (l *Loop) backing() (map[string][]disk, error) {
	block := filepath.Join(l.tree.sys, "block")
	entries, err := os.ReadDir(block)
	if err != nil {
		return nil, err
	}
	disks := map[string][]disk{}
	for _, e := range entries {
		if !loopName.MatchString(e.Name()) {
			continue
		}
		dir := filepath.Join(block, e.Name())
		file, err := l.backingFile(dir)
		if vanished(err) {
			continue // a loop device without a file has no such attribute
		}
		if err != nil {
			return nil, err
		}
		disks[file] = append(disks[file], disk{name: e.Name(), dir: dir})
	}
	return disks, nil
}

func (l *Loop) backingFile(path string) (string, error) {
	dir, err := host.OpenDirectory(path)
	if err != nil {
		return "", err
	}
	defer dir.Close()
	file, err := l.tree.attrs.Read(dir, "loop/backing_file")
	return strings.TrimSuffix(file, deletedSuffix), err
}

var loopName = regexp.MustCompile(`^loop[0-9]+$`)

// deletedSuffix is what the kernel adds to the name of a file whose last name it was
// (fs/d_path.c). The device is as attached as before, and no NQN ends like that.
const deletedSuffix = " (deleted)"

// attached finds the verified device of an attachment.
func (l *Loop) attached(ctx context.Context, file string) (Device, bool, error) {
	disks, err := l.backing()
	if err != nil || len(disks[file]) == 0 {
		return Device{}, false, err
	}
	if n := len(disks[file]); n > 1 {
		return Device{}, false, errUnusable{fmt.Errorf("%s is attached %d times: detach all but one with losetup -d", file, n)}
	}
	found := disks[file][0]
	d, err := l.tree.verify(ctx, found)
	d.Controller = found.name
	return d, err == nil, err
}

// losetup runs to its end even when ctx ends: half an attachment would be nobody's.
func (l *Loop) losetup(ctx context.Context, args ...string) error {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.timeout)
	defer cancel()
	_, err := l.runner.Run(bounded, "losetup", args...)
	if errors.Is(err, host.ErrNotInstalled) {
		return fault.Errorf("run losetup", fault.Precondition, "%w: install util-linux", err)
	}
	return fault.E("run losetup", fault.Unavailable, err)
}

// attach links the exported file and puts a loop device on the link.
func (l *Loop) attach(ctx context.Context, t Target, file string) error {
	e, err := l.export(t.NQN)
	if err != nil {
		return err
	}
	if err := e.admit(t.HostNQN); err != nil {
		return err
	}
	if err := link(e.Path, file); err != nil {
		return fault.E("link the backing file", fault.Unavailable, err)
	}
	if err := l.losetup(ctx, "--find", file); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return l.writable(file)
}

// writable clears what BLKROSET left on the loop device: the flag stays with the device, not
// with its file.
func (l *Loop) writable(file string) error {
	disks, err := l.backing()
	if err != nil {
		return err
	}
	for _, d := range disks[file] {
		num, err := numberAt(l.tree.attrs, d.dir)
		if err != nil {
			return err
		}
		if err := (host.Devices{}).SetReadOnly(filepath.Join(l.tree.dev, d.name), num, false); err != nil {
			return fault.E("make the loop device writable", fault.Unavailable, err)
		}
	}
	return nil
}

// link makes name a hard link to path, replacing one that leads to another file: no loop device
// has it, or it would not have come to this.
func link(path, name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Link(path, name)
}

// Disconnect detaches the loop device and removes its link. It is fault.Busy, and nothing was
// done, while something uses the device or that cannot be told.
func (l *Loop) Disconnect(ctx context.Context, nqn, hostNQN string, reason telemetry.DisconnectReason) error {
	op := "disconnect " + nqn
	if err := errors.Join(validNQN("NQN", nqn), validNQN("host NQN", hostNQN)); err != nil {
		return fault.E(op, fault.Invalid, err)
	}
	if err := l.turn.Acquire(ctx, 1); err != nil {
		return fault.Wrap(op, context.Cause(ctx))
	}
	defer l.turn.Release(1)
	return fault.Wrap(op, l.remove(ctx, l.attachment(hostNQN, nqn), reason))
}

func (l *Loop) remove(ctx context.Context, file string, reason telemetry.DisconnectReason) error {
	disks, err := l.backing()
	if err != nil {
		return fault.E("look for loop devices", fault.Unavailable, err)
	}
	if len(disks[file]) > 0 {
		if err := l.detach(ctx, file, disks[file], reason); err != nil {
			return err
		}
	}
	return fault.E("remove the link", fault.Unavailable, unlink(file))
}

func (l *Loop) detach(ctx context.Context, file string, disks []disk, reason telemetry.DisconnectReason) (err error) {
	ctx, span := telemetry.Start(ctx, "nvme.disconnect", telemetry.Client, telemetry.Controller(disks[0].name))
	defer func() {
		span.End(err)
		l.metrics.RecordNVMeDisconnect(ctx, reason, err)
	}()
	for _, d := range disks {
		if err := l.usage.free(ctx, filepath.Join(l.tree.dev, d.name), d.dir); err != nil {
			return err
		}
	}
	for _, d := range disks {
		if err := l.losetup(ctx, "--detach", filepath.Join(l.tree.dev, d.name)); err != nil {
			return err
		}
	}
	// A device that somebody has open goes only when it is closed.
	_, err = poll(ctx, nil, func() error {
		left, err := l.backing()
		if err == nil && len(left[file]) > 0 {
			return fmt.Errorf("%s is still attached", left[file][0].name)
		}
		return err
	})
	return fault.E("detach the loop device", fault.Unavailable, err)
}

// unlink removes an attachment's link, and its host's directory with the last one.
func unlink(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, dir := range []string{filepath.Dir(file), filepath.Dir(filepath.Dir(file))} {
		if os.Remove(dir) != nil {
			break // not empty, or never made
		}
	}
	return nil
}

// Attached lists the NQNs that have a loop device under the host NQN now.
func (l *Loop) Attached(hostNQN string) ([]string, error) {
	disks, err := l.backing()
	if err != nil {
		return nil, fmt.Errorf("list loop devices: %w", err)
	}
	var nqns []string
	for file := range disks {
		if filepath.Dir(file) == l.attachments(hostNQN) {
			nqns = append(nqns, filepath.Base(file))
		}
	}
	slices.Sort(nqns)
	return nqns, nil
}

// States counts the attachments of our host NQN: a loop device is live or not there.
func (l *Loop) States() (map[telemetry.ControllerState]int, error) {
	nqns, err := l.Attached(l.hostNQN)
	if err != nil {
		return nil, err
	}
	states := noStates()
	states[telemetry.ControllerLive] = len(nqns)
	return states, nil
}

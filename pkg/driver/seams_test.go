package driver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// effects counts what the driver asks of the machine, and can make it fail or freeze.
type effects struct {
	mu       sync.Mutex
	count    int
	names    []string
	failAt   int // the effect with this number fails, counted from 1
	freezeAt int // from this one on nothing happens any more, as if the process had died
	onEffect func(n int, name string)
}

var (
	errInjected = errors.New("injected failure")
	errFrozen   = errors.New("the process is dead")
)

// step is asked before each effect.
func (e *effects) step(name string) error {
	e.mu.Lock()
	e.count++
	n, hook := e.count, e.onEffect
	e.names = append(e.names, name)
	var err error
	switch {
	case e.freezeAt > 0 && n >= e.freezeAt:
		err = errFrozen
	case n == e.failAt:
		err = errInjected
	}
	e.mu.Unlock()
	if hook != nil {
		hook(n, name)
	}
	return err
}

// arm starts a new count.
func (e *effects) arm(failAt, freezeAt int, hook func(n int, name string)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.count, e.names, e.failAt, e.freezeAt, e.onEffect = 0, nil, failAt, freezeAt, hook
}

// seen are the names of all effects since arm.
func (e *effects) seen() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.names)
}

type fabricsSeam struct{ m *machine }

func (s fabricsSeam) Options() (string, error) { return s.m.nvme.Options() }

func (s fabricsSeam) Create(options string) (string, error) {
	if err := s.m.effects.step("connect"); err != nil {
		return "", os.NewSyscallError("write", unix.EIO)
	}
	s.m.lookAtArray()
	return s.m.nvme.Create(options)
}

type attributesSeam struct{ m *machine }

func (s attributesSeam) Read(dir *host.Directory, name string) (string, error) {
	return s.m.nvme.Read(dir, name)
}

func (s attributesSeam) Write(dir *host.Directory, attr, value string) error {
	if err := s.m.effects.step("write " + attr); err != nil {
		return &os.PathError{Op: "write", Path: filepath.Join(dir.Path(), attr), Err: err}
	}
	if attr == "rescan_controller" {
		s.m.lookAtArray()
	}
	err := s.m.nvme.Write(dir, attr, value)
	if attr == "delete_controller" {
		s.m.reap()
	}
	return err
}

type nvmeDevicesSeam struct{ m *machine }

func (s nvmeDevicesSeam) Identify(path string) (host.DevNum, uint64, error) {
	num, size, err := s.m.nvme.Identify(path)
	if err == nil {
		s.m.attach(path, num)
	}
	return num, size, err
}

func (s nvmeDevicesSeam) Exclusive(path string) error {
	if err := s.m.effects.step("exclusive"); err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	if err := s.m.nvme.Exclusive(path); err != nil {
		return err
	}
	if s.m.mounts.InUse(s.m.short(path)) {
		return &os.PathError{Op: "open", Path: path, Err: unix.EBUSY}
	}
	return nil
}

// mountsSeam is the mount table, for the mounter and for the connector.
type mountsSeam struct{ m *machine }

func (s mountsSeam) Mount(source, target, fsType string, options []string) error {
	if err := s.m.effects.step("mount"); err != nil {
		return err
	}
	defer s.m.mirror()
	return s.m.mounts.Mount(s.m.short(source), target, fsType, options)
}

func (s mountsSeam) Bind(source, target string, readOnly bool) error {
	if err := s.m.effects.step("bind"); err != nil {
		return err
	}
	defer s.m.mirror()
	return s.m.mounts.Bind(s.m.short(source), target, readOnly)
}

func (s mountsSeam) Unmount(target string) error {
	if err := s.m.effects.step("umount"); err != nil {
		return err
	}
	defer s.m.mirror()
	return s.m.mounts.Unmount(target)
}

func (s mountsSeam) Table() ([]host.MountPoint, error) {
	if err := s.m.effects.step("mountinfo"); err != nil {
		return nil, err
	}
	return s.m.mounts.Table()
}

type toolsSeam struct{ m *machine }

func (s toolsSeam) Run(ctx context.Context, name string, args ...string) (host.Result, error) {
	if err := ctx.Err(); err != nil { // no process is started any more
		return host.Result{}, fmt.Errorf("%s: %w", name, err)
	}
	if err := s.m.effects.step(name); err != nil {
		return host.Result{}, err
	}
	for i := range args {
		args[i] = s.m.short(args[i])
	}
	return s.m.mounts.Tools().Run(ctx, name, args...)
}

type devicesSeam struct{ m *machine }

func (s devicesSeam) Open(path string, exclusive, write bool) (host.Device, error) {
	if err := s.m.effects.step("open"); err != nil {
		return nil, err
	}
	return s.m.mounts.Devices().Open(s.m.short(path), exclusive, write)
}

func (s devicesSeam) SetReadOnly(path string, num host.DevNum, readOnly bool) error {
	if err := s.m.effects.step("blkroset"); err != nil {
		return err
	}
	return s.m.mounts.Devices().SetReadOnly(s.m.short(path), num, readOnly)
}

type filesystemsSeam struct{ m *machine }

func (s filesystemsSeam) Statfs(path string) (host.FSStats, error) {
	return s.m.mounts.Filesystems().Statfs(path)
}

func (s filesystemsSeam) Answers(path string) error { return s.m.mounts.Filesystems().Answers(path) }

func (s filesystemsSeam) Errors(fsType, device string) (int, error) {
	return s.m.mounts.Filesystems().Errors(fsType, device)
}

func (s filesystemsSeam) Held(fsType, device string) (bool, error) {
	return s.m.mounts.Filesystems().Held(fsType, device)
}

func (s filesystemsSeam) Size(path, fsType string) (uint64, error) {
	if err := s.m.effects.step("size"); err != nil {
		return 0, err
	}
	return s.m.mounts.Filesystems().Size(path, fsType)
}

package nvme

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// LoopConfig is what a Loop needs: Dir and HostNQN.
type LoopConfig struct {
	Dir     string // the simulated array's directory
	HostNQN string // whose attachments States counts
	Sys     string // default /sys
	Dev     string // default /dev

	DeviceTimeout time.Duration // for a device to appear, grow or go; default 30 s

	Runner  programs           // default: programs of this machine; only losetup is run
	Mounts  mountTable         // default: /proc/self/mountinfo
	Metrics *telemetry.Metrics // default: none
	Log     *zap.Logger        // default: none
}

// Loop attaches the files of a simulated array on this machine as loop devices, so that mkfs,
// mount and growth are real where the kernel has no NVMe/TCP. It keeps the rules of a Host:
// what is not exported to this host is refused, an attachment outlives the end of its export,
// and a device in use is never taken away. For development only.
//
// Each attachment goes through a hard link of its own, attached/<host>/<NQN>: the loop device
// is found again by that name, and two hosts can share a machine.
type Loop struct {
	dir     string
	hostNQN string
	timeout time.Duration
	runner  programs
	tree    tree
	usage   usage
	turn    *semaphore.Weighted // one change at a time, as with a Host
	metrics *telemetry.Metrics
	log     *zap.Logger
}

// NewLoop makes a Loop over the simulated array in cfg.Dir, which need not be running yet.
func NewLoop(cfg LoopConfig) (*Loop, error) {
	if err := validNQN("host NQN", cfg.HostNQN); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil || cfg.Dir == "" {
		return nil, errors.Join(errors.New("the directory of the simulated array is needed"), err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	// The kernel shows a backing file by its real path.
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, err
	}
	if cfg.Mounts == nil {
		cfg.Mounts = host.NewMounts()
	}
	if cfg.Runner == nil {
		cfg.Runner = host.NewRunner()
	}
	c := &calls{attrs: host.Attributes{}, blocks: kernelDevices{}}
	l := &Loop{
		dir: dir, hostNQN: cfg.HostNQN, timeout: orDefault(cfg.DeviceTimeout, 30*time.Second), runner: cfg.Runner,
		tree:    tree{sys: orDefault(cfg.Sys, "/sys"), dev: orDefault(cfg.Dev, "/dev"), attrs: c.attrs, calls: c},
		usage:   usage{attrs: c.attrs, mounts: cfg.Mounts, calls: c},
		turn:    semaphore.NewWeighted(1),
		metrics: orDefault(cfg.Metrics, telemetry.Noop()), log: orDefault(cfg.Log, zap.NewNop()),
	}
	l.log.Warn("DEVELOPMENT ONLY: volumes of a simulated array are attached as loop devices, not over NVMe/TCP", zap.String("dir", dir))
	return l, nil
}

// Connect gives the loop device of t's backing file, attaching it where that is still needed.
// Portals and options are checked and otherwise without meaning.
func (l *Loop) Connect(ctx context.Context, t Target) (Device, error) {
	op := "connect " + t.NQN
	if err := t.validate(); err != nil {
		return Device{}, fault.E(op, fault.Invalid, err)
	}
	if err := l.turn.Acquire(ctx, 1); err != nil {
		return Device{}, fault.Wrap(op, context.Cause(ctx))
	}
	defer l.turn.Release(1)
	file := l.attachment(t.HostNQN, t.NQN)
	d, there, err := l.attached(ctx, file)
	if err != nil {
		return Device{}, fault.E(op, fault.Unavailable, err)
	}
	if !there {
		d, err = l.connect(ctx, t, file)
	}
	d.Adopted = there
	return d, fault.Wrap(op, err)
}

func (l *Loop) connect(ctx context.Context, t Target, file string) (d Device, err error) {
	l.log.Warn("DEVELOPMENT ONLY: attach a file as a loop device", append(telemetry.LogFields(ctx), zap.String("nqn", t.NQN))...)
	p := t.Portals[0]
	start := time.Now()
	connecting, span := telemetry.Start(ctx, "nvme.connect", telemetry.Client, telemetry.ServerAddress(p.Address),
		telemetry.ServerPort(p.Port), telemetry.NQN(t.NQN))
	err = l.attach(connecting, t, file)
	span.End(err)
	l.metrics.RecordNVMeConnect(connecting, err, time.Since(start))
	if err != nil {
		return Device{}, l.rollback(ctx, file, err)
	}
	if d, err = l.awaitDevice(ctx, file); err != nil {
		return Device{}, l.rollback(ctx, file, err)
	}
	return d, nil
}

func (l *Loop) awaitDevice(ctx context.Context, file string) (d Device, err error) {
	start := time.Now()
	ctx, span := telemetry.Start(ctx, "nvme.device.wait", telemetry.Internal)
	defer func() {
		span.End(err)
		l.metrics.RecordNVMeDeviceWait(ctx, err, time.Since(start))
	}()
	bounded, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	looks, err := poll(bounded, nil, func() error {
		var there bool
		if d, there, err = l.attached(bounded, file); err == nil && !there {
			return errNoDisk
		}
		return err
	})
	span.Set(telemetry.PollCount(looks))
	if err != nil {
		return Device{}, expired(ctx, bounded, "wait for the loop device", fault.NVMeDeviceTimeout, err)
	}
	span.Set(telemetry.Device(d.Path), telemetry.Controller(d.Controller))
	return d, nil
}

// rollback takes down what a failed Connect made, even when ctx has ended.
func (l *Loop) rollback(ctx context.Context, file string, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeDownTimeout)
	defer cancel()
	if err := l.remove(ctx, file, telemetry.DisconnectRollback); err != nil {
		return fault.Errorf("", fault.Unavailable, "%w; the loop device could not be taken down: %w", cause, err)
	}
	return cause
}

// Find looks without touching anything; fault.NotFound when nothing is attached under that NQN
// and host NQN. As with a Host, the Device is what was so at a moment within the call.
func (l *Loop) Find(ctx context.Context, nqn, hostNQN string) (Device, error) {
	op := "find " + nqn
	d, there, err := l.attached(ctx, l.attachment(hostNQN, nqn))
	if err != nil && ctx.Err() != nil {
		return Device{}, fault.E(op, ended(ctx, fault.Timeout), err)
	}
	if _, known := errors.AsType[errUnusable](err); known {
		return Device{}, fault.E(op, fault.NVMeControllerLost, err)
	}
	if err != nil {
		return Device{}, fault.E(op, fault.Unavailable, err)
	}
	if !there {
		return Device{}, fault.Errorf(op, fault.NotFound, "no loop device is attached for it")
	}
	d.Adopted = true
	return d, nil
}

// Still is nil while d is what is attached under that NQN and host NQN.
func (l *Loop) Still(ctx context.Context, nqn, hostNQN string, d Device) error {
	if err := wanted(ctx, nqn); err != nil {
		return err
	}
	now, err := l.Find(ctx, nqn, hostNQN)
	return stillSame(d, now, err)
}

// Rescan makes the kernel look at the file's size again and waits until the device has at least
// want bytes.
func (l *Loop) Rescan(ctx context.Context, nqn, hostNQN string, want uint64) (Device, error) {
	op := "rescan " + nqn
	d, err := l.Find(ctx, nqn, hostNQN)
	if err != nil || d.Size >= want {
		return d, err
	}
	if err := l.losetup(ctx, "--set-capacity", d.Path); err != nil {
		return Device{}, fault.Wrap(op, err)
	}
	bounded, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	_, err = poll(bounded, nil, func() error {
		if d, err = l.Find(bounded, nqn, hostNQN); err != nil {
			return err
		}
		return grown(d, want)
	})
	if err != nil {
		return Device{}, expired(ctx, bounded, op, fault.NVMeDeviceTimeout, err)
	}
	return d, nil
}

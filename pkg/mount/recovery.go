package mount

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// Attached is a device that a recovery mounts from.
type Attached struct {
	Path string // of its node
	Num  host.DevNum
	Live Alive
}

// Recovery asks for the mounts of a volume to be made anew, of the device it has by now.
type Recovery struct {
	VolumeID string
	Staging  string // the staging path; with Block nothing is mounted there
	Block    bool
	FSType   string
	Options  []string
	ReadOnly bool
	// Publish lists the paths where the volume is published, or was when an earlier recovery began.
	Publish []Publication
	// Renew takes the mounts down even where they are of the right device: its file system has stopped.
	Renew bool
	Since time.Time // when the mount was found stale
	Ours  func(host.MountPoint) bool
	// Known is the device that is connected now; zero where there is none.
	Known host.DevNum
	// Attach connects the volume. No file system is taken down before it has succeeded.
	Attach func(ctx context.Context) (Attached, error)
	// Begin SHALL be on disk when it returns: right after, these paths are taken down, and have to come back.
	Begin func(paths []string) error
}

// Publication is a path at which a volume is published.
type Publication struct {
	Path     string
	ReadOnly bool
	Restore  bool // an earlier recovery took it down and did not come to an end
}

// Recover replaces the mounts of a device that is gone or changed by mounts of the one that the volume
// has now. A program that has the dead mount open keeps its dead copy until it ends; whoever comes
// after it gets the healthy one. It is safe to repeat after any interruption: what Begin wrote says
// what is to come back.
func (m *Mounter) Recover(ctx context.Context, r Recovery) (changed bool, err error) {
	op := "recover the mounts of volume " + r.VolumeID
	if r.Block {
		if r.Publish, err = m.unbind(ctx, r); err != nil {
			m.metrics.RecordStaleRecovery(ctx, telemetry.StatusFailure, err, time.Since(r.Since))
			return false, fault.Wrap(op, err)
		}
	}
	a, err := r.Attach(ctx)
	if err != nil { // the target is away: nothing was begun
		m.metrics.RecordStaleRecovery(ctx, telemetry.StatusSkipped, err, time.Since(r.Since))
		return false, fault.Wrap(op, err)
	}
	changed, err = m.renew(ctx, r, a)
	status := telemetry.StatusSuccess
	if !changed && err == nil {
		status = telemetry.StatusSkipped
	}
	m.metrics.RecordStaleRecovery(ctx, status, err, time.Since(r.Since))
	if err != nil {
		return changed, fault.Wrap(op, err)
	}
	if changed {
		m.log.Info("mounts recovered", append(telemetry.LogFields(ctx), zap.String("volume_id", r.VolumeID),
			zap.String("device", a.Path), zap.Duration("after", time.Since(r.Since)))...)
	}
	return changed, nil
}

// unbind takes the nodes of a raw block device that is gone down at once: a bound node is a number,
// which the kernel may give to another volume, and a dead file system is not. It gives the publications
// with what is to come back.
func (m *Mounter) unbind(ctx context.Context, r Recovery) ([]Publication, error) {
	stale, err := m.toRestore(r, r.Known)
	if err != nil || len(stale) == 0 {
		return r.Publish, err
	}
	if err := r.Begin(paths(stale)); err != nil {
		return nil, fault.E("note that the recovery begins", fault.Unavailable, err)
	}
	marked := slices.Clone(r.Publish)
	for i, p := range marked {
		marked[i].Restore = slices.ContainsFunc(stale, func(s Publication) bool { return s.Path == p.Path })
	}
	return marked, m.takeDownAll(ctx, r, stale)
}

func (m *Mounter) renew(ctx context.Context, r Recovery, a Attached) (changed bool, err error) {
	publications, err := m.toRestore(r, a.Num)
	if err != nil {
		return false, err
	}
	staging, err := m.stagingStale(r, a)
	if err != nil || !staging && len(publications) == 0 {
		return false, err
	}
	if err := r.Begin(paths(publications)); err != nil {
		return false, fault.E("note that the recovery begins", fault.Unavailable, err)
	}
	if staging && r.FSType == btrfs {
		// Btrfs refuses a second device with the UUID of one that is mounted, dead or not
		// (fs/btrfs/volumes.c, device_list_add): all mounts of the dead one go first.
		if err := m.coverAll(ctx, r, publications); err != nil {
			return true, err
		}
	}
	if staging {
		if err := m.restage(ctx, r, a); err != nil {
			return true, err
		}
	}
	var errs []error
	for _, p := range publications { // one that is in the way keeps no other from being healed
		errs = append(errs, m.republish(ctx, r, a, p))
	}
	return true, errors.Join(errs...)
}

func (m *Mounter) takeDownAll(ctx context.Context, r Recovery, publications []Publication) error {
	for _, p := range publications {
		if err := m.takeDown(ctx, p.Path, r.Ours); err != nil {
			return err
		}
	}
	return nil
}

func paths(publications []Publication) []string {
	var list []string
	for _, p := range publications {
		list = append(list, p.Path)
	}
	return list
}

// toRestore are the publications that are of another device than num, or were taken down before.
func (m *Mounter) toRestore(r Recovery, num host.DevNum) ([]Publication, error) {
	var stale []Publication
	for _, p := range r.Publish {
		at, found, err := m.At(p.Path)
		if err != nil {
			return nil, err
		}
		if found && (r.Renew || at.Device() != num) || !found && p.Restore {
			stale = append(stale, p)
		}
	}
	return stale, nil
}

func (m *Mounter) stagingStale(r Recovery, a Attached) (bool, error) {
	if r.Block {
		return false, nil
	}
	layers, err := m.layers(r.Staging)
	other := func(at host.MountPoint) bool { return at.Dev != a.Num }
	return r.Renew || len(layers) == 0 || slices.ContainsFunc(layers, other), err
}

// stepTimeout bounds each unmount and mount of a recovery: one that hangs in the kernel goes on by
// itself, and the next try waits for it, but meanwhile the volume is nobody's.
const stepTimeout = time.Minute

// swapTimeout bounds each half of a swap, which no caller can cut short. Neither waits for a device.
const swapTimeout = 10 * time.Second

// restage mounts the device at the staging path in place of the dead one. The file system is checked
// first, as it lost its device under way; never while it is mounted.
func (m *Mounter) restage(ctx context.Context, r Recovery, a Attached) error {
	if err := m.takeDown(ctx, r.Staging, r.Ours); err != nil {
		return err
	}
	others, err := m.MountsOf(a.Num)
	if err != nil {
		return err
	}
	if len(others) == 0 && !r.ReadOnly {
		if err := m.Check(ctx, a.Path, a.Num, r.FSType, a.Live); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	_, err = m.Mount(ctx, MountRequest{
		Device: a.Path, Num: a.Num, Target: r.Staging, FSType: r.FSType, Options: r.Options, ReadOnly: r.ReadOnly, Live: a.Live,
	})
	return err
}

// republish swaps one path. What a container finds there between the two steps is an empty directory of
// this machine, so both are done or neither, whatever becomes of the caller, and where the second fails
// the path is covered.
func (m *Mounter) republish(ctx context.Context, r Recovery, a Attached, p Publication) error {
	if _, err := os.Stat(filepath.Dir(p.Path)); errors.Is(err, fs.ErrNotExist) {
		return nil // kubelet has taken the pod's directory away: there is nothing to come back to
	}
	if err := timeToSwap(ctx); err != nil {
		return err
	}
	if err := m.takeDownWhole(ctx, p.Path, r.Ours); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), swapTimeout)
	defer cancel()
	source := r.Staging
	if r.Block {
		source = a.Path
	}
	// The flags are those of the staging mount, as at the first publish.
	_, err := m.Bind(ctx, BindRequest{Source: source, Target: p.Path, Num: a.Num, Block: r.Block, ReadOnly: p.ReadOnly, Live: a.Live})
	if err != nil && !r.Block {
		err = errors.Join(err, m.cover(p.Path))
	}
	return err
}

// timeToSwap is nil if a caller that waits can see the end of a swap.
func timeToSwap(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < 2*swapTimeout {
		return fmt.Errorf("too little time is left to swap a publish path: %w", context.DeadlineExceeded)
	}
	return ctx.Err()
}

// takeDownWhole is takeDown for the first half of a swap.
func (m *Mounter) takeDownWhole(ctx context.Context, path string, ours func(host.MountPoint) bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), swapTimeout)
	defer cancel()
	return m.takeDown(ctx, path, ours)
}

// takeDown unmounts every layer at path and leaves the directory or file where it is.
func (m *Mounter) takeDown(ctx context.Context, path string, ours func(host.MountPoint) bool) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	_, err := m.clear(ctx, path, func(at host.MountPoint) bool { return IsCover(at) || ours(at) }, false)
	return err
}

package mount

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// e2fsck's exit status is a sum of these (e2fsck(8)).
const (
	fsckRepaired    = 1
	fsckUncorrected = 4
)

// Check repairs what can be repaired without asking, on a device that is not mounted and may be
// written to. For ext4 it is the preen run of e2fsck, which is spared where its superblock says that it
// would look no further; xfs and btrfs replay their logs when they are mounted.
func (m *Mounter) Check(ctx context.Context, device string, num host.DevNum, fsType string, live Alive) error {
	op := "check the file system on " + device
	fsType, err := fsTypeOf(op, fsType)
	if err != nil || fsType != ext4 {
		return err
	}
	pin, _, err := m.pin(ctx, device, num, live)
	if err != nil {
		return fault.Wrap(op, err)
	}
	defer pin.Close()
	if err := m.unclaimed(ctx, device); err != nil {
		return fault.Wrap(op, err)
	}
	if super, err := m.ext4Super(ctx, device, pin); err == nil && ext4Clean(super) {
		return nil
	}
	return m.preen(ctx, op, device, pin)
}

// preen runs e2fsck -p on a pinned device, with force even when the file system is marked clean.
func (m *Mounter) preen(ctx context.Context, op, device string, pin host.Device, force ...string) (err error) {
	start := time.Now()
	defer func() { m.metrics.RecordMountOp(ctx, telemetry.MountOpFsck, err, time.Since(start)) }()
	if err := m.unclaimed(ctx, device); err != nil {
		return fault.Wrap(op, err)
	}
	result, err := m.tools.Run(ctx, "fsck.ext4", append(force, "-p", device)...)
	failed, ok := errors.AsType[*host.ExitError](err)
	if !ok {
		return toolError(op, fault.Unavailable, err)
	}
	switch {
	case failed.Code == fsckRepaired:
		m.log.Info("file system repaired", append(telemetry.LogFields(ctx), zap.String("device", device), zap.String("fsck", result.Stdout))...)
		return nil
	case failed.Code < 128 && failed.Code&fsckUncorrected != 0:
		return fault.E(op, fault.FSCorrupt, fmt.Errorf("%w: %.300s; stop the pods that use the volume and run e2fsck -f %s "+
			"on this node, reading what it asks", err, result.Stdout, device))
	default:
		return m.checkFailed(ctx, op, device, pin, err)
	}
}

// checkFailed tells a device that e2fsck could not work on from a superblock it could not use.
func (m *Mounter) checkFailed(ctx context.Context, op, device string, pin host.Device, err error) error {
	if ctx.Err() != nil {
		return fault.Wrap(op, err)
	}
	if busy := m.unclaimed(ctx, device); busy != nil {
		return fault.Wrap(op, errors.Join(busy, err))
	}
	if _, readErr := m.ext4Size(ctx, device, pin); readErr != nil && fault.KindOf(readErr) != fault.Corrupt {
		return fault.Wrap(op, errors.Join(readErr, err))
	}
	return fault.E(op, fault.FSCorrupt, fmt.Errorf("%w; stop the pods that use the volume and run e2fsck -f %s on this node", err, device))
}

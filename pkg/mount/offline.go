package mount

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// growOffline grows an ext4 that is not mounted. resize2fs keeps no journal: one that is killed
// leaves a file system that only an administrator can repair. So it goes on when ctx ends, and
// every later call for the device waits for it (growthOver).
func (m *Mounter) growOffline(ctx context.Context, r GrowRequest) error {
	err := m.growCalls.do(ctx, r.Device, func() error {
		err := m.checkAndResize(ctx, r)
		if ctx.Err() != nil { // nobody waits for the answer any more
			m.log.Info("offline growth ended", append(telemetry.LogFields(ctx), zap.String("device", r.Device), zap.Error(err))...)
		}
		return err
	})
	return stillGrowing(err)
}

// checkAndResize holds a pin of its own, as the caller's goes when the caller does.
func (m *Mounter) checkAndResize(ctx context.Context, r GrowRequest) error {
	pin, _, err := m.pinNow(ctx, r.Device, r.Num, r.Live)
	if err != nil {
		return err
	}
	defer pin.Close()
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	if err := m.preen(ctx, "check before growing", r.Device, pin, "-f"); err != nil { // resize2fs demands it
		return err
	}
	if err := r.Live.ask(ctx); err != nil { // a check can take minutes
		return err
	}
	_, err = m.tools.Run(ctx, "resize2fs", r.Device)
	return toolError("", fault.Internal, err)
}

// growthOver waits until no file system is grown offline on the device.
func (m *Mounter) growthOver(ctx context.Context, device string) error {
	return stillGrowing(m.growCalls.over(ctx, device))
}

func stillGrowing(err error) error {
	if !errors.Is(err, errHangs) {
		return err
	}
	return fault.E("", fault.Unavailable, fmt.Errorf("its ext4 is still being grown (e2fsck, resize2fs): %w; that is not stopped, since it would "+
		"leave half a file system; the next call waits for it", err))
}

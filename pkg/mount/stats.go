package mount

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// Stats tells how full the file system mounted at path is; NotFound when none is. A statfs on a
// device that is reconnecting waits for it: past ctx the answer is Timeout, and at most one such
// call per path stays behind.
func (m *Mounter) Stats(ctx context.Context, path string) (host.FSStats, error) {
	op := "measure " + path
	_, found, err := m.At(path)
	if err != nil {
		return host.FSStats{}, fault.Wrap(op, err)
	}
	if !found {
		return host.FSStats{}, fault.Errorf(op, fault.NotFound, "nothing is mounted there")
	}
	var stats host.FSStats
	err = m.statCalls.do(ctx, path, func() (err error) {
		stats, err = m.filesystems.Statfs(path)
		return err
	})
	if err != nil {
		return host.FSStats{}, statsError(op, err)
	}
	return stats, nil
}

func statsError(op string, err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return fault.Wrap(op, err)
	case errors.Is(err, errHangs), errors.Is(err, context.DeadlineExceeded):
		return fault.E(op, fault.Timeout, fmt.Errorf("%w; the device is probably not connected", err))
	case errors.Is(err, unix.EIO), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ESTALE):
		return fault.E(op, fault.StaleMount, fmt.Errorf("%w: the device behind this mount is gone; the pod must be restarted", err))
	default:
		return fault.E(op, fault.Internal, err)
	}
}

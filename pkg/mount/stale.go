package mount

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// Health is how a mount of a volume is.
type Health struct {
	State  telemetry.MountState  // "" where there is nothing to tell
	Reason telemetry.StaleReason // "" unless stale or read-only
	Detail string                // for people
}

// answerTimeout is how long a live device may take to open a directory that is in memory.
const answerTimeout = time.Second

// InspectRequest asks how a mount is whose device is connected and live.
type InspectRequest struct {
	At       host.MountPoint // as the mount table has it
	Num      host.DevNum     // of the volume's device now
	Device   string          // path of its node
	FSType   string
	ReadOnly bool // it was asked read-only
}

// Inspect looks at the mount of a volume: at the mount table and at what the file system says of
// itself, and only if all that is well at the mount itself. A device that is away is not to be asked:
// that would hang. An ext4 that has lost its device does not show "ro" any more on Linux 6.1 to 6.14,
// hence the other signs (facts/nvme.md §0.7).
func (m *Mounter) Inspect(ctx context.Context, r InspectRequest) Health {
	if r.At.Dev != r.Num {
		return Health{telemetry.MountStale, telemetry.StaleDeviceChanged,
			fmt.Sprintf("%s is mounted from device %s, and the volume is device %s (%s) now", r.At.Path, r.At.Dev, r.Num, r.Device)}
	}
	if h := sayings(r.At, r); h.State != telemetry.MountHealthy {
		return h
	}
	count, err := m.filesystems.Errors(r.FSType, filepath.Base(r.Device))
	switch {
	case err != nil:
		return Health{State: telemetry.MountUnknown, Detail: err.Error()}
	case count > 0 && !r.ReadOnly: // a check clears it, and what is staged read-only is not checked
		return Health{telemetry.MountStale, telemetry.StaleIOError, fmt.Sprintf("its %s has counted %d errors; the kernel's log says which", r.FSType, count)}
	}
	return m.answers(ctx, r.At.Path)
}

// sayings reads what the file system's options tell (facts/nvme.md §1.5).
func sayings(at host.MountPoint, r InspectRequest) Health {
	for _, option := range []string{"emergency_ro", "shutdown"} {
		if slices.Contains(at.SuperOptions, option) {
			return Health{telemetry.MountStale, telemetry.StaleIOError, "its " + r.FSType + " has met an error and stopped (" + option + ")"}
		}
	}
	if !r.ReadOnly && slices.Contains(at.SuperOptions, "ro") {
		return Health{telemetry.MountReadOnly, telemetry.StaleReadOnly, "its " + r.FSType + " has turned read-only by itself; the kernel's log says why"}
	}
	return Health{State: telemetry.MountHealthy}
}

func (m *Mounter) answers(ctx context.Context, path string) Health {
	if m.statCalls.running(path) { // one that was asked before has not answered yet
		return Health{telemetry.MountStale, telemetry.StaleStatTimeout, path + " does not answer, although its device is connected"}
	}
	bounded, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	err := m.statCalls.do(bounded, path, func() error { return m.filesystems.Answers(path) })
	switch {
	case err == nil:
		return Health{State: telemetry.MountHealthy}
	case errors.Is(err, errHangs) && ctx.Err() == nil:
		return Health{telemetry.MountStale, telemetry.StaleStatTimeout, fmt.Sprintf("%s does not answer within %s, although its device is connected", path, answerTimeout)}
	case errors.Is(err, unix.EIO), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO), errors.Is(err, unix.EUCLEAN):
		return Health{telemetry.MountStale, telemetry.StaleIOError, err.Error()}
	default:
		return Health{State: telemetry.MountUnknown, Detail: err.Error()}
	}
}

// ReportStale counts and logs a mount that was found stale. It is for the moment it is found, not
// for each look.
func (m *Mounter) ReportStale(ctx context.Context, volumeID string, h Health) {
	m.metrics.RecordStaleMountDetected(ctx, h.Reason)
	m.log.Warn("stale mount", append(telemetry.LogFields(ctx), zap.String("volume_id", volumeID),
		zap.String("reason", string(h.Reason)), zap.String("detail", h.Detail))...)
}

// Held tells whether somebody still has the file system of a device open that the volume had before:
// a container keeps its own mounts until it restarts. Not to be told counts as held.
func (m *Mounter) Held(fsType, device string) bool {
	held, err := m.filesystems.Held(fsType, filepath.Base(device))
	return held || err != nil
}

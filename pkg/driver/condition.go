package driver

import (
	"context"
	"path/filepath"
	"slices"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// Condition is how a staged volume is on this node. Finding it out touches no mount that could hang.
type Condition struct {
	VolumeID string
	Link     nvme.Link // "" where it cannot be told
	mount.Health
	Heal bool // Staged.Heal has something to do
	Busy bool // a call or a recovery is at the volume: what it is in between means nothing
	// HeldBy are devices the volume had before, and whose file systems somebody still has open: a
	// container that has not been restarted since.
	HeldBy []string
}

// look finds the condition of a staged volume.
func (n *node) look(ctx context.Context, r *stage.Record) Condition {
	c := Condition{VolumeID: r.VolumeID}
	status, err := n.connectorOf(r).Status(ctx, r.NQN, r.HostNQN)
	if err != nil {
		c.State, c.Detail = telemetry.MountUnknown, err.Error()
		return c
	}
	c.Link = status.Link
	switch {
	case status.Link == nvme.LinkAway:
		c.State, c.Detail = telemetry.MountUnknown, "its target is away (controller "+status.State+"); the kernel goes on trying to reach it"
	case status.Num.IsZero():
		c.Health, c.Heal = n.withoutDevice(r, status)
	default:
		c.Health, c.Heal = n.lookAtMounts(ctx, r, status)
		c.HeldBy = n.heldBy(r)
	}
	return c
}

// withoutDevice: a volume of which nothing is mounted lacks nothing, unless it is a raw block one,
// whose next publish needs the device.
func (n *node) withoutDevice(r *stage.Record, status nvme.Status) (mount.Health, bool) {
	detail := "its controller is gone: the kernel gave it up, or the array refused it"
	if status.Link == nvme.LinkLive {
		detail = "its controller is connected, but shows no device: the namespace is gone or was replaced"
	}
	gone := mount.Health{State: telemetry.MountStale, Reason: telemetry.StaleDeviceGone, Detail: detail}
	if r.Block || r.Recovery != nil {
		return gone, true
	}
	_, mounted, err := n.cfg.Mounter.At(r.StagingPath)
	if err != nil {
		return mount.Health{State: telemetry.MountUnknown, Detail: err.Error()}, false
	}
	if !mounted {
		return mount.Health{}, false
	}
	return gone, true
}

func (n *node) lookAtMounts(ctx context.Context, r *stage.Record, status nvme.Status) (mount.Health, bool) {
	published, h := n.lookAtTargets(r, status.Num)
	if h.State != telemetry.MountHealthy {
		return h, h.State == telemetry.MountStale
	}
	if r.Recovery != nil {
		return mount.Health{State: telemetry.MountStale, Reason: telemetry.StaleDeviceChanged, Detail: "a recovery of it was interrupted"}, true
	}
	if r.Block {
		return h, false
	}
	h = n.cfg.Mounter.Inspect(ctx, mount.InspectRequest{
		Target: r.StagingPath, Num: status.Num, Device: status.Path, FSType: r.FSType, ReadOnly: r.ReadOnly,
	})
	switch h.Reason {
	case telemetry.StaleDeviceChanged:
		return h, true
	case telemetry.StaleIOError, telemetry.StaleReadOnly:
		if published > 0 { // its file system lives on as long as anybody has it mounted
			h.Detail += "; delete the pods that use it: it is checked and mounted anew when none is left"
			return h, false
		}
		return h, true
	default:
		return h, false
	}
}

// lookAtTargets counts where the volume is published, and finds what is published of another device.
func (n *node) lookAtTargets(r *stage.Record, num host.DevNum) (published int, h mount.Health) {
	for _, t := range r.Targets {
		at, mounted, err := n.cfg.Mounter.At(t.Path)
		switch {
		case err != nil:
			return published, mount.Health{State: telemetry.MountUnknown, Detail: err.Error()}
		case !mounted:
			continue
		case at.Device() != num:
			return published, mount.Health{State: telemetry.MountStale, Reason: telemetry.StaleDeviceChanged,
				Detail: t.Path + " is of device " + at.Device().String() + ", and the volume is device " + num.String() + " now"}
		}
		published++
	}
	return published, mount.Health{State: telemetry.MountHealthy}
}

// heldBy are the former devices whose file systems are still alive. The kernel gives a name away
// again once nobody has the old one open, so one that a volume has now stands for that.
func (n *node) heldBy(r *stage.Record) []string {
	if len(r.Former) == 0 || r.Block {
		return nil
	}
	records, err := n.cfg.Records.List()
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(r.Former), func(name string) bool {
		reused := slices.ContainsFunc(records, func(o *stage.Record) bool { return filepath.Base(o.Device) == name })
		return reused || !n.cfg.Mounter.Held(r.FSType, name)
	})
}

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
	// Release says that an operator asked to let go of the volume, Busy beside it that something may hang on it.
	Release bool
	// Revoked says that the volume is lost, and that by every answer for a while (DefaultDetachedGrace) Kubernetes
	// has had no attachment of it to this node.
	Revoked bool
	Busy    bool // a call or a recovery is at the volume: what it is in between means nothing
	// Path is the publish path that alone is stale; "" where the staging path is, or none.
	Path string
	// Missing is how many further paths to the device there should be.
	Missing int
	// HeldBy are devices the volume had before, and whose file systems somebody still has open: a
	// container that has not been restarted since.
	HeldBy []string
}

// view is where a look finds the facts: the machine itself, or one picture of it for many volumes.
type view struct {
	status linkOf
	at     func(path string) (host.MountPoint, bool, error)
	others func() []*stage.Record // of this node
}

// now is the view of one volume as it is at this moment.
func (n *node) now(ctx context.Context) view {
	return view{
		status: n.link(ctx),
		at:     n.cfg.Mounter.At,
		others: func() []*stage.Record {
			others, _ := n.cfg.Records.List() // of one that cannot be read it is not known to have a device
			return others
		},
	}
}

// look finds the condition of a staged volume at this moment.
func (n *node) look(ctx context.Context, r *stage.Record) Condition {
	return n.lookIn(ctx, r, n.now(ctx))
}

func (n *node) lookIn(ctx context.Context, r *stage.Record, v view) Condition {
	c := Condition{VolumeID: r.VolumeID}
	status, err := v.status(r)
	if err != nil {
		c.State, c.Detail = telemetry.MountUnknown, err.Error()
		return c
	}
	c.Link = status.Link
	switch {
	case status.Link == nvme.LinkAway:
		c.State, c.Detail = telemetry.MountUnknown, "its target is away (controller "+status.State+"); the kernel goes on trying to reach it"
	case status.Num.IsZero() && status.Away > 0:
		c.State, c.Detail = telemetry.MountUnknown, "one path is connected without its device, and another, which may still have it, is away; its users wait for that"
	case status.Num.IsZero():
		c.Health, c.Heal = withoutDevice(r, status, v)
	default:
		n.lookAtMounts(ctx, r, status, v, &c)
		c.HeldBy = n.heldBy(r, v)
		if c.State == telemetry.MountHealthy && status.Shared {
			c.Missing = n.missingPaths(r, status)
		}
	}
	return c
}

// missingPaths counts the portals that have no controller, where one would be a further path.
func (n *node) missingPaths(r *stage.Record, status nvme.Status) int {
	a, err := n.attachmentIn(r)
	if err != nil || !a.target.Fenced || a.target.HostNQN != r.HostNQN {
		return 0
	}
	return max(0, len(a.target.Portals)-status.Live-status.Away)
}

// withoutDevice: a volume of which nothing is mounted lacks nothing, unless it is a raw block one,
// whose next publish needs the device.
func withoutDevice(r *stage.Record, status nvme.Status, v view) (mount.Health, bool) {
	detail := "its controller is gone: the kernel gave it up, or the array refused it"
	if status.Link == nvme.LinkLive {
		detail = "its controller is connected, but shows no device: the namespace is gone or was replaced"
	}
	gone := mount.Health{State: telemetry.MountStale, Reason: telemetry.StaleDeviceGone, Detail: detail}
	if r.Block || r.Recovery != nil {
		return gone, true
	}
	_, mounted, err := v.at(r.StagingPath)
	if err != nil {
		return mount.Health{State: telemetry.MountUnknown, Detail: err.Error()}, false
	}
	if !mounted {
		return mount.Health{}, false
	}
	return gone, true
}

// lookAtMounts looks at the staging mount and at what is published, in this order: what is wrong with the
// former is wrong with all.
func (n *node) lookAtMounts(ctx context.Context, r *stage.Record, status nvme.Status, v view, c *Condition) {
	if c.Health = n.lookAtStaging(ctx, r, status, v); c.State != telemetry.MountHealthy {
		c.Heal = c.Reason == telemetry.StaleDeviceChanged || renewable(r, v, c)
		return
	}
	for _, t := range r.Targets {
		at, mounted, err := v.at(t.Path)
		switch {
		case err != nil:
			c.State, c.Detail = telemetry.MountUnknown, err.Error()
			return
		case mounted && at.Device() != status.Num:
			c.Health = mount.Health{State: telemetry.MountStale, Reason: telemetry.StaleDeviceChanged,
				Detail: t.Path + " is of device " + at.Device().String() + ", and the volume is device " + status.Num.String() + " now"}
			c.Path, c.Heal = t.Path, true
			return
		}
	}
	if r.Recovery != nil {
		c.Health = mount.Health{State: telemetry.MountStale, Reason: telemetry.StaleDeviceChanged, Detail: "a recovery of it was interrupted"}
		c.Heal = true
	}
}

func (n *node) lookAtStaging(ctx context.Context, r *stage.Record, status nvme.Status, v view) mount.Health {
	if r.Block {
		return mount.Health{State: telemetry.MountHealthy}
	}
	at, mounted, err := v.at(r.StagingPath)
	switch {
	case err != nil:
		return mount.Health{State: telemetry.MountUnknown, Detail: err.Error()}
	case mounted:
		return n.cfg.Mounter.Inspect(ctx, mount.InspectRequest{At: at, Num: status.Num, Device: status.Path, FSType: r.FSType, ReadOnly: r.ReadOnly})
	case r.Recovery != nil:
		return mount.Health{State: telemetry.MountStale, Reason: telemetry.StaleDeviceChanged, Detail: "a recovery of it was interrupted"}
	default:
		return mount.Health{}
	}
}

// renewable tells whether a file system that has stopped can be checked and mounted anew. It lives on as
// long as anybody has it mounted; and one that is staged read-only is not checked, so that it would be the
// same again.
func renewable(r *stage.Record, v view, c *Condition) bool {
	if c.Reason != telemetry.StaleIOError && c.Reason != telemetry.StaleReadOnly {
		return false
	}
	for _, t := range r.Targets {
		if at, mounted, err := v.at(t.Path); mounted && !mount.IsCover(at) || err != nil {
			c.Detail += "; delete the pods that use it: it is checked and mounted anew when none is left"
			return false
		}
	}
	if r.ReadOnly {
		c.Detail += "; it is staged read-only and not checked: use it writable once, or run fsck by hand"
		return false
	}
	return true
}

// heldBy are the former devices whose file systems are still alive. The kernel gives a name away
// again once nobody has the old one open, so one that a volume has now stands for that.
func (n *node) heldBy(r *stage.Record, v view) []string {
	if len(r.Former) == 0 || r.Block {
		return nil
	}
	others := v.others()
	return slices.DeleteFunc(slices.Clone(r.Former), func(name string) bool {
		reused := slices.ContainsFunc(others, func(o *stage.Record) bool { return o.BootID == n.cfg.BootID && filepath.Base(o.Device) == name })
		return reused || !n.cfg.Mounter.Held(r.FSType, name)
	})
}

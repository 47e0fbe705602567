package driver

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// namespaceTimeout is how long a live controller may take to show its namespace again before it is
// taken down and made anew.
const namespaceTimeout = 5 * time.Second

// heal brings a volume back whose device is gone or changed: it connects again, and mounts again what
// was mounted. A volume that was fenced is refused by the array, however often it is tried: its NQN
// is no more.
//
// attaching ends, at the latest with ctx, when somebody else asks for the volume; it bounds what comes
// before anything is taken down. byCall says that Kubernetes wants the volume here now, and not only did so
// when it was staged.
func (n *node) heal(ctx, attaching context.Context, r *stage.Record, c Condition, byCall bool) (err error) {
	ctx, span := n.cfg.Tracer.StartRoot(ctx, "mount.recovery")
	defer func() { span.End(err) }()
	telemetry.Link(ctx, r.TraceParent)
	span.Set(telemetry.VolumeID(r.VolumeID), telemetry.NQN(r.NQN), telemetry.StaleReasonAttr(c.Reason))
	m, err := n.recovery(ctx, attaching, r, c, byCall)
	if err != nil {
		return err
	}
	changed, err := n.cfg.Mounter.Recover(ctx, m)
	if err != nil {
		return err
	}
	if changed {
		n.tellRecovered(r)
	}
	n.stale.end(r.VolumeID)
	r.Recovery = nil
	r.Former = n.heldBy(r, n.now(ctx))
	return n.save(r)
}

func (n *node) recovery(ctx, attaching context.Context, r *stage.Record, c Condition, byCall bool) (mount.Recovery, error) {
	since, _ := n.stale.begin(r.VolumeID)
	status, err := n.connectorOf(r).Status(ctx, r.NQN, r.HostNQN)
	m := mount.Recovery{
		VolumeID: r.VolumeID, Staging: r.StagingPath, Block: r.Block, FSType: r.FSType, Options: r.MountFlags, ReadOnly: r.ReadOnly,
		Renew: c.Reason == telemetry.StaleIOError || c.Reason == telemetry.StaleReadOnly,
		Since: since, Ours: n.ours(r), Known: status.Num,
		Attach: func(ctx context.Context) (mount.Attached, error) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(attaching, cancel)()
			if !byCall && !n.fenced(r) {
				return mount.Attached{}, fault.Errorf("", fault.Precondition, "it was not made by this driver, and another node may have it by now; start a pod with it on this node")
			}
			return n.reattach(ctx, r)
		},
		Begin: func(paths []string) error {
			r.Recovery = &stage.Recovery{Since: since, Paths: paths}
			return n.save(r)
		},
	}
	for _, t := range r.Targets {
		restore := r.Recovery != nil && slices.Contains(r.Recovery.Paths, t.Path)
		m.Publish = append(m.Publish, mount.Publication{Path: t.Path, ReadOnly: t.ReadOnly, Restore: restore})
	}
	return m, err
}

// reattach connects the volume of a record again, under the NQN it had.
func (n *node) reattach(ctx context.Context, r *stage.Record) (mount.Attached, error) {
	a, err := n.attachmentIn(r)
	if err != nil {
		return mount.Attached{}, err
	}
	if a.target.HostNQN != r.HostNQN {
		return mount.Attached{}, fault.Errorf("", fault.Precondition, "it was attached as host %s, and this node is %s now", r.HostNQN, a.target.HostNQN)
	}
	dev, err := n.reconnect(ctx, r, a)
	if err != nil {
		return mount.Attached{}, err
	}
	if dev.Size < a.size {
		if dev, err = n.connectorOf(r).Rescan(ctx, r.NQN, r.HostNQN, a.size); err != nil {
			return mount.Attached{}, err
		}
	}
	noteDevice(r, dev)
	if err := n.save(r); err != nil {
		return mount.Attached{}, err
	}
	live := func(ctx context.Context) error { return n.alive(ctx, r, dev, a.size) }
	return mount.Attached{Path: dev.Path, Num: dev.Num, Live: live}, nil
}

// noteDevice remembers the device of an attachment, and the one before it: a container may still
// use that.
func noteDevice(r *stage.Record, dev nvme.Device) {
	former := filepath.Base(r.Device)
	if r.DevNum != "" && r.DevNum != dev.Num.String() && former != filepath.Base(dev.Path) && !slices.Contains(r.Former, former) {
		r.Former = append(r.Former, former)
	}
	r.Device, r.DevNum = dev.Path, dev.Num.String()
}

// reconnect connects. Of a controller that is live without a device the namespace is looked for
// again; where it does not come the controller, which nothing can use, is made anew.
func (n *node) reconnect(ctx context.Context, r *stage.Record, a attachment) (nvme.Device, error) {
	conn := n.connectorOf(r)
	status, err := conn.Status(ctx, r.NQN, r.HostNQN)
	if err != nil {
		return nvme.Device{}, err
	}
	if status.Link != nvme.LinkLive || !status.Num.IsZero() {
		return conn.Connect(ctx, a.target)
	}
	if status.Away > 0 { // that one may have the device, with what waits to be written to it
		return nvme.Device{}, fault.Errorf("", fault.NVMeControllerLost, "another path to it is away; see whether all addresses of the array can be reached")
	}
	if err := conn.Refresh(ctx, r.NQN, r.HostNQN); err != nil {
		return nvme.Device{}, err
	}
	bounded, cancel := context.WithTimeout(ctx, namespaceTimeout)
	defer cancel()
	dev, err := conn.Connect(bounded, a.target)
	if err == nil || ctx.Err() != nil {
		return dev, err
	}
	if err := conn.Disconnect(ctx, r.NQN, r.HostNQN, telemetry.DisconnectRecovery); err != nil {
		return nvme.Device{}, err
	}
	return conn.Connect(ctx, a.target)
}

// healFirst heals a volume that a call finds stale before it goes on with it. What is wrong at a path
// other than the call's own keeps it from nothing.
func (n *node) healFirst(ctx context.Context, r *stage.Record, path string) error {
	if !r.Staged(n.cfg.BootID) {
		return nil
	}
	c := n.look(ctx, r)
	n.noteCondition(ctx, c)
	if !c.Heal {
		if c.State == telemetry.MountStale || c.State == telemetry.MountReadOnly {
			return fault.Errorf("", fault.StaleMount, "%s", c.Detail)
		}
		return nil
	}
	err := n.heal(ctx, ctx, r, c, true)
	if err == nil {
		return nil
	}
	if c = n.look(ctx, r); c.Path != "" && c.Path != path {
		n.driver.cfg.Log.Warn("a publish path could not be healed", append(telemetry.LogFields(ctx), zap.String("volume_id", r.VolumeID), zap.Error(err))...)
		return nil
	}
	return err
}

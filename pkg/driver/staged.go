package driver

import (
	"context"
	"errors"
	"slices"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// Staged is what this node has staged, for the loop that looks after it.
type Staged struct {
	node *node
}

// Staged gives the staged volumes of the node service; nil without one.
func (d *Driver) Staged() *Staged {
	if d.node == nil {
		return nil
	}
	return &Staged{node: d.node}
}

// Look finds the condition of every volume that is staged, or whose release was asked or is proven right. What a record of an
// earlier boot speaks of is not staged: kubelet stages again what it still wants. Controllers and mount
// table are read once for all. Beside an error it gives the volumes whose records can be read.
func (s *Staged) Look(ctx context.Context) ([]Condition, error) {
	n := s.node
	records, err := n.cfg.Records.List()
	picture, viewErr := n.picture(ctx, records)
	if viewErr != nil {
		return nil, errors.Join(err, viewErr)
	}
	var conditions []Condition
	for _, r := range records {
		asked, askErr := n.cfg.Records.ReleaseAsked(r)
		err = errors.Join(err, askErr)
		if asked || r.Staged(n.cfg.BootID) || n.gone.has(r) {
			conditions = append(conditions, s.lookAt(ctx, r, picture, asked))
		}
	}
	if err == nil {
		n.stale.keep(func(id string) bool {
			return slices.ContainsFunc(records, func(r *stage.Record) bool { return r.VolumeID == id })
		})
		n.gone.keep(records)
	}
	return conditions, err
}

// picture is one view of the machine for all records.
func (n *node) picture(ctx context.Context, records []*stage.Record) (view, error) {
	links, err := n.links(ctx)
	if err != nil {
		return view{}, err
	}
	mounts, err := n.cfg.Mounter.Picture()
	return view{status: links, at: mounts.At, others: func() []*stage.Record { return records }}, err
}

// lookAt finds the condition of one volume. A picture is old as soon as it is taken, and a call may have been
// at the volume since: what is not well in it is looked at again.
func (s *Staged) lookAt(ctx context.Context, r *stage.Record, picture view, asked bool) Condition {
	n, id := s.node, r.VolumeID
	busy := Condition{VolumeID: id, Busy: true, Release: asked, Revoked: n.gone.has(r)}
	if n.driver.nodeOps.busy(id) {
		return busy
	}
	c := Condition{VolumeID: id}
	if r.Staged(n.cfg.BootID) {
		c = n.lookIn(ctx, r, picture)
	}
	if c.State == telemetry.MountStale || c.State == telemetry.MountReadOnly || c.Link == nvme.LinkGone {
		now, found, err := n.load(id)
		switch {
		case err != nil:
			c.Health = mount.Health{State: telemetry.MountUnknown, Detail: err.Error()}
		case !found || !now.Staged(n.cfg.BootID):
			c = Condition{VolumeID: id}
		default:
			c = n.look(ctx, now)
		}
		if n.driver.nodeOps.busy(id) {
			return busy
		}
	}
	if c.Heal && !n.fenced(r) {
		c.Heal = n.boundToTheDead(ctx, r)
		c.Detail += "; it was not made by this driver, and another node may have it by now: it is healed when a pod is started with it"
	}
	n.noteCondition(ctx, c)
	c.Release, c.Revoked = asked, n.gone.has(r)
	return c
}

// boundToTheDead tells whether a publish path of a raw block volume has the node of a device that is not
// the volume's: its number may become another volume's.
func (n *node) boundToTheDead(ctx context.Context, r *stage.Record) bool {
	status, err := n.connectorOf(r).Status(ctx, r.NQN, r.HostNQN)
	if err != nil || !r.Block {
		return false
	}
	return slices.ContainsFunc(r.Targets, func(t stage.Target) bool {
		at, mounted, err := n.cfg.Mounter.At(t.Path)
		return err == nil && mounted && at.Device() != status.Num
	})
}

// fenced tells whether the NQN is of this driver's form, which means that it is gone for ever once the
// volume was taken from this node. One of a volume that others made may be another node's by now.
func (n *node) fenced(r *stage.Record) bool {
	a, err := n.attachmentIn(r)
	return err == nil && a.target.Fenced
}

// noteCondition counts and logs a volume that is found stale, once.
func (n *node) noteCondition(ctx context.Context, c Condition) {
	switch {
	case c.Reason != "":
		if _, news := n.stale.begin(c.VolumeID); news {
			n.cfg.Mounter.ReportStale(ctx, c.VolumeID, c.Health)
			n.tellStale(c)
		}
	case c.State == telemetry.MountHealthy:
		n.stale.end(c.VolumeID)
	}
}

// Heal heals the volume, if it still needs that, or releases it, if that was asked or is proven right. It is InFlight
// while a call works on the volume, and makes way for one as long as nothing was taken down.
func (s *Staged) Heal(ctx context.Context, id string) error {
	op := "heal volume " + id
	attaching, yield := context.WithCancelCause(ctx)
	defer yield(nil)
	makeWay := func() { yield(fault.Errorf("", fault.InFlight, "a call asks for the volume")) }
	end, err := s.node.driver.nodeOps.beginYielding(id, recoveryHolder, makeWay)
	if err != nil {
		return fault.Wrap(op, err)
	}
	defer end()
	r, found, err := s.node.load(id)
	if err != nil || !found {
		return fault.Wrap(op, err)
	}
	proof, err := s.node.revocation(attaching, r)
	switch {
	case err != nil:
		return fault.Wrap(op, err)
	case proof == operatorAsked:
		return fault.Wrap(op, s.node.releaseAsked(ctx, r))
	case proof != "":
		return fault.Wrap(op, s.node.releaseDetached(ctx, r, proof))
	case !r.Staged(s.node.cfg.BootID):
		return nil
	}
	c := s.node.look(ctx, r)
	switch {
	case c.Heal && !s.node.fenced(r) && !s.node.boundToTheDead(ctx, r):
		return nil
	case c.Heal:
		return fault.Wrap(op, s.node.heal(ctx, attaching, r, c, false))
	case c.Missing > 0:
		return fault.Wrap(op, s.node.addPaths(attaching, r))
	default:
		return nil
	}
}

// recoveryHolder is who holds a volume that is being healed.
const recoveryHolder = "recovery"

// addPaths connects the portals of a multipath volume that have no controller.
func (n *node) addPaths(ctx context.Context, r *stage.Record) error {
	a, err := n.attachmentIn(r)
	if err != nil || !a.target.Fenced || a.target.HostNQN != r.HostNQN {
		return err
	}
	_, err = n.connectorOf(r).Connect(ctx, a.target)
	return err
}

// Unblock takes the controllers of a volume whose release was asked, or is proven right, away from a call or a
// recovery that hangs on them: it ends with an error then, and Heal can do the rest.
func (s *Staged) Unblock(ctx context.Context, id string) error {
	op := "release volume " + id
	r, found, err := s.node.load(id)
	if err != nil || !found {
		return fault.Wrap(op, err)
	}
	status, err := s.node.connectorOf(r).Status(ctx, r.NQN, r.HostNQN)
	if err != nil || status.Link != nvme.LinkAway {
		return fault.Wrap(op, err)
	}
	proof, err := s.node.revocation(ctx, r)
	if err != nil || proof == "" {
		return fault.Wrap(op, err)
	}
	return fault.Wrap(op, s.node.revoke(ctx, r, proof))
}

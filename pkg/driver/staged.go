package driver

import (
	"context"
	"errors"
	"slices"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
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

// Volumes lists the ids of the volumes that are staged. What a record of an earlier boot speaks of
// is not: kubelet stages again what it still wants. One whose release was asked is, whatever it is.
// Beside an error it gives those whose records can be read.
func (s *Staged) Volumes() ([]string, error) {
	records, err := s.node.cfg.Records.List()
	var ids []string
	for _, r := range records {
		asked, askErr := s.node.cfg.Records.ReleaseAsked(r)
		err = errors.Join(err, askErr)
		if asked || r.Staged(s.node.cfg.BootID) {
			ids = append(ids, r.VolumeID)
		}
	}
	slices.Sort(ids)
	return ids, err
}

// Look finds the condition of a volume. One that is not staged any more has no state.
func (s *Staged) Look(ctx context.Context, id string) (Condition, error) {
	n := s.node
	r, found, err := n.load(id)
	if err != nil || !found {
		n.stale.end(id)
		return Condition{VolumeID: id}, err
	}
	asked, askErr := n.cfg.Records.ReleaseAsked(r)
	if n.driver.nodeOps.busy(id) {
		return Condition{VolumeID: id, Busy: true, Release: asked}, askErr
	}
	c := Condition{VolumeID: id}
	if r.Staged(n.cfg.BootID) {
		c = n.look(ctx, r)
		n.noteCondition(ctx, c)
		if c.Heal && !n.fenced(r) {
			c.Heal = false
			c.Detail += "; it was not made by this driver, and another node may have it by now: it is healed when a pod is started with it"
		}
	}
	c.Release = asked
	return c, askErr
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
		}
	case c.State == telemetry.MountHealthy:
		n.stale.end(c.VolumeID)
	}
}

// Heal heals the volume, if it still needs that, or releases it, if that was asked. It is InFlight
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
	asked, err := s.node.cfg.Records.ReleaseAsked(r)
	switch {
	case err != nil:
		return fault.E(op, fault.Unavailable, err)
	case asked:
		return fault.Wrap(op, s.node.releaseAsked(ctx, r))
	case !r.Staged(s.node.cfg.BootID):
		return nil
	}
	c := s.node.look(ctx, r)
	switch {
	case c.Heal && s.node.fenced(r):
		return fault.Wrap(op, s.node.heal(ctx, attaching, r, c))
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
	if err != nil {
		return err
	}
	_, err = n.connectorOf(r).Connect(ctx, a.target)
	return err
}

// Unblock takes the controllers of a volume whose release was asked away from a call or a recovery that
// hangs on them: it ends with an error then, and Heal can do the rest.
func (s *Staged) Unblock(ctx context.Context, id string) error {
	op := "release volume " + id
	r, found, err := s.node.load(id)
	if err != nil || !found {
		return fault.Wrap(op, err)
	}
	asked, err := s.node.cfg.Records.ReleaseAsked(r)
	if err != nil || !asked {
		return fault.E(op, fault.Unavailable, err)
	}
	status, err := s.node.connectorOf(r).Status(ctx, r.NQN, r.HostNQN)
	if err != nil || status.Link != nvme.LinkAway {
		return fault.Wrap(op, err)
	}
	return fault.Wrap(op, s.node.revoke(ctx, r, operatorAsked))
}

package driver

import (
	"context"
	"slices"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
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
func (s *Staged) Volumes() ([]string, error) {
	records, err := s.node.cfg.Records.List()
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, r := range records {
		asked, err := s.node.cfg.Records.ReleaseAsked(r)
		if err != nil {
			return nil, err
		}
		if asked || r.Staged(s.node.cfg.BootID) {
			ids = append(ids, r.VolumeID)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// Look finds the condition of a volume. One that is not staged any more has no state.
func (s *Staged) Look(ctx context.Context, id string) (Condition, error) {
	if s.node.driver.nodeOps.busy(id) {
		return Condition{VolumeID: id, Busy: true}, nil
	}
	r, found, err := s.node.load(id)
	if err != nil || !found {
		return Condition{VolumeID: id}, err
	}
	c := Condition{VolumeID: id}
	if r.Staged(s.node.cfg.BootID) {
		c = s.node.look(ctx, r)
	}
	asked, err := s.node.cfg.Records.ReleaseAsked(r)
	c.Heal = c.Heal || asked
	return c, err
}

// Heal heals the volume, if it still needs that, or releases it, if that was asked. It is InFlight
// while a call works on the volume.
func (s *Staged) Heal(ctx context.Context, id string, since time.Time) error {
	op := "heal volume " + id
	end, err := s.node.driver.nodeOps.begin(id, "recovery")
	if err != nil {
		return fault.Wrap(op, err)
	}
	defer end()
	r, found, err := s.node.load(id)
	if err != nil || !found {
		return fault.Wrap(op, err)
	}
	asked, err := s.node.cfg.Records.ReleaseAsked(r)
	if err != nil {
		return fault.E(op, fault.Unavailable, err)
	}
	if asked {
		return fault.Wrap(op, s.node.releaseAsked(ctx, r))
	}
	if !r.Staged(s.node.cfg.BootID) {
		return nil
	}
	c := s.node.look(ctx, r)
	if !c.Heal {
		return nil
	}
	return fault.Wrap(op, s.node.heal(ctx, r, c, since))
}

// ReportStale counts and logs a volume that was found stale.
func (s *Staged) ReportStale(ctx context.Context, c Condition) {
	s.node.cfg.Mounter.ReportStale(ctx, c.VolumeID, c.Health)
}

package driver

import (
	"context"
	"errors"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
)

const (
	// attachedAfter is how long after it was staged a volume's VolumeAttachment is looked for: kubelet's
	// next calls come right after, and must not find the volume taken.
	attachedAfter = 20 * time.Second
	// attachedAgain is when one that was not found is looked for again. There may be none at all.
	attachedAgain = 5 * time.Minute
)

// attachedHolder is who holds a volume while its record is told of a VolumeAttachment.
const attachedHolder = "note of its VolumeAttachment"

// AskKubernetes looks, for each staged volume, for the VolumeAttachment it was published by, and remembers it.
// Of volumes that are lost it asks whether that is still there; what Look gives says so from then on. It stops
// at the first question that the API server does not answer.
func (s *Staged) AskKubernetes(ctx context.Context) error {
	n := s.node
	if n.cfg.Attachments == nil {
		return nil
	}
	records, listErr := n.cfg.Records.List()
	for _, r := range records {
		if !r.Staged(n.cfg.BootID) {
			continue // what an earlier boot had is not on this node any more
		}
		if err := n.askKubernetes(ctx, r); err != nil {
			return errors.Join(listErr, err)
		}
	}
	return listErr
}

func (n *node) askKubernetes(ctx context.Context, r *stage.Record) error {
	if r.Attachment == nil {
		return n.noteAttachment(ctx, r)
	}
	lost, err := n.lost(ctx, r)
	if err != nil || !lost {
		n.gone.set(r, false)
		return nil // of what cannot be told the look says so
	}
	gone, err := n.cfg.Attachments.Gone(ctx, r.VolumeID, *r.Attachment)
	n.gone.set(r, gone && err == nil)
	return err
}

// attachmentGone asks once more, right before the answer is acted on. A volume that is connected is left alone
// whatever Kubernetes says: it can be unmounted like any other.
func (n *node) attachmentGone(ctx context.Context, r *stage.Record) bool {
	gone := false
	if n.cfg.Attachments != nil && r.Attachment != nil && r.Staged(n.cfg.BootID) {
		said, err := n.cfg.Attachments.Gone(ctx, r.VolumeID, *r.Attachment)
		lost, lookErr := n.lost(ctx, r)
		gone = said && lost && err == nil && lookErr == nil
	}
	n.gone.set(r, gone)
	return gone
}

// lost tells whether the volume is without its device: gone, or away.
func (n *node) lost(ctx context.Context, r *stage.Record) (bool, error) {
	status, err := n.connectorOf(r).Status(ctx, r.NQN, r.HostNQN)
	return err == nil && (status.Link != nvme.LinkLive || status.Num.IsZero()), err
}

// noteAttachment remembers in the record that a VolumeAttachment of this very NQN was there. That is what
// makes its absence mean something later: a CO without VolumeAttachments has none at any time.
func (n *node) noteAttachment(ctx context.Context, r *stage.Record) error {
	if time.Since(r.StagedAt) < attachedAfter || !n.gone.due(r) {
		return nil
	}
	a, found, err := n.cfg.Attachments.Find(ctx, r.VolumeID, func(context map[string]string) bool { return context[keyNQN] == r.NQN })
	if err != nil {
		return err
	}
	if !found {
		n.gone.none(r)
		return nil
	}
	end, err := n.driver.nodeOps.begin(r.VolumeID, attachedHolder)
	if err != nil {
		return nil // a call is at the volume: later
	}
	defer end()
	now, there, err := n.load(r.VolumeID)
	if err != nil || !there || now.NQN != r.NQN || !now.Staged(n.cfg.BootID) {
		return err
	}
	now.Attachment = &a
	return fault.Wrap("note the VolumeAttachment of "+r.VolumeID, n.save(now))
}

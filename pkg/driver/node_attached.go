package driver

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

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
// Of volumes that are lost, an unstage that hangs among them, it asks whether that is still there; what Look
// gives says so from then on. Its error is the first; it stops only where no answer came, and the next round
// begins with the volume after that, so that one volume cannot keep others from being asked about.
func (s *Staged) AskKubernetes(ctx context.Context) error {
	n := s.node
	if n.cfg.Attachments == nil {
		return nil
	}
	records, _ := n.cfg.Records.List() // of one that cannot be read, Look says so
	links, err := n.links(ctx)
	if err != nil {
		links = n.link(ctx) // what cannot be told of all may be told of each
	}
	start := 1 + slices.IndexFunc(records, func(r *stage.Record) bool { return r.VolumeID == n.stopped })
	var failed error
	for _, r := range slices.Concat(records[start:], records[:start]) {
		err := n.askKubernetes(ctx, r, links)
		if err != nil && failed == nil {
			failed = err
		}
		if ctx.Err() != nil || fault.KindOf(err) == fault.Unavailable {
			n.stopped = r.VolumeID
			break
		}
	}
	return failed
}

// askKubernetes reads the state of a volume again where links, which is of the round's begin, has it lost.
func (n *node) askKubernetes(ctx context.Context, r *stage.Record, links linkOf) error {
	if r.Attachment == nil {
		return n.noteAttachment(ctx, r)
	}
	if !n.lost(r, links) || !n.lost(r, n.link(ctx)) {
		n.gone.answered(r, false)
		return nil
	}
	return n.askWhetherGone(ctx, r)
}

// askWhetherGone notes the answer. An error is none: it neither proves that the attachment is there, nor that
// it is gone.
func (n *node) askWhetherGone(ctx context.Context, r *stage.Record) error {
	gone, err := n.cfg.Attachments.Gone(ctx, r.VolumeID, *r.Attachment)
	if err == nil {
		n.gone.answered(r, gone)
	}
	return err
}

// attachmentGone asks once more, right before the answer is acted on, and tells whether the attachment was gone
// for long enough by every answer. A volume that is connected is left alone whatever Kubernetes says: it can be
// unmounted like any other.
func (n *node) attachmentGone(ctx context.Context, r *stage.Record) bool {
	if n.cfg.Attachments == nil || r.Attachment == nil || n.askWhetherGone(ctx, r) != nil {
		return false
	}
	if !n.lost(r, n.link(ctx)) {
		n.gone.answered(r, false)
	}
	return n.gone.has(r)
}

// releaseDetached lets go of what Kubernetes has taken from this node, and says so: nobody asked for it here.
func (n *node) releaseDetached(ctx context.Context, r *stage.Record, proof string) error {
	err := n.release(ctx, r, proof)
	if err == nil {
		n.driver.cfg.Log.Info("a volume that was taken from this node is let go of", zap.String("volume_id", r.VolumeID), zap.String("reason", proof))
	}
	return err
}

// lost tells whether the volume is known to be without its device: gone, or away. What an earlier boot had is
// not on this node any more, and what this machine had under another name is not what Kubernetes speaks of.
func (n *node) lost(r *stage.Record, links linkOf) bool {
	if r.BootID != n.cfg.BootID || r.HostNQN != n.cfg.ID.HostNQN() {
		return false
	}
	status, err := links(r)
	return err == nil && (status.Link != nvme.LinkLive || status.Num.IsZero())
}

// noteAttachment remembers in the record that a VolumeAttachment of this very NQN was there. That is what
// makes its absence mean something later: a CO without VolumeAttachments has none at any time.
func (n *node) noteAttachment(ctx context.Context, r *stage.Record) error {
	if !r.Staged(n.cfg.BootID) || time.Since(r.StagedAt) < attachedAfter || !n.gone.due(r) {
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
	if err := n.keepAttachment(r, a); err != nil {
		n.gone.none(r) // which is no reason to try, and to say it, at each round
		n.driver.cfg.Log.Warn("the VolumeAttachment of a volume cannot be noted in its record: until it is, the volume is not let go of by itself when Kubernetes detaches it",
			zap.String("volume_id", r.VolumeID), zap.Error(err))
	}
	return nil
}

func (n *node) keepAttachment(r *stage.Record, a stage.Attachment) error {
	end, err := n.driver.nodeOps.begin(r.VolumeID, attachedHolder)
	if err != nil {
		return nil // a call is at the volume: later
	}
	defer end()
	now, there, err := n.load(r.VolumeID)
	if err != nil || !there || now.NQN != r.NQN || !now.Staged(n.cfg.BootID) {
		return err
	}
	n.gone.answered(r, false)
	now.Attachment = &a
	return n.save(now)
}

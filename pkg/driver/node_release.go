package driver

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// release lets go of an attachment that is proven to be revoked (design.md §6 rule 7): its writes
// must never arrive any more, so what is not written yet is dropped with the controller, before
// anything is unmounted, which would wait for it.
func (n *node) release(ctx context.Context, r *stage.Record, proof string) error {
	if err := ctx.Err(); err != nil { // a call that is over revokes nothing
		return err
	}
	if err := n.revoke(ctx, r, proof); err != nil {
		return err
	}
	for _, path := range r.Paths() {
		if r.Block && path == r.StagingPath {
			continue // nothing is mounted there
		}
		if _, err := n.cfg.Mounter.Unmount(ctx, path, n.ours(r)); err != nil {
			return err
		}
	}
	if err := n.connectorOf(r).Disconnect(ctx, r.NQN, r.HostNQN, telemetry.DisconnectRecovery); err != nil {
		return err
	}
	n.stale.end(r.VolumeID)
	return fault.E("", fault.Internal, n.cfg.Records.Delete(r.VolumeID))
}

// revoke takes the controllers of a revoked attachment away from whoever uses their devices.
func (n *node) revoke(ctx context.Context, r *stage.Record, proof string) error {
	conn := n.connectorOf(r)
	status, err := conn.Status(ctx, r.NQN, r.HostNQN)
	if err != nil {
		return err
	}
	if err := conn.Revoke(ctx, r.NQN, r.HostNQN, telemetry.DisconnectRecovery); err != nil {
		return err
	}
	if status.Link != nvme.LinkGone {
		telemetry.Event(ctx, n.driver.cfg.Log, "fenced, unsynced data dropped",
			telemetry.VolumeID(r.VolumeID), telemetry.NQN(r.NQN), telemetry.ReasonAttr(proof))
		n.tellFenced(r, proof)
	}
	return nil
}

// preempt is for a stage that finds a recovery at its volume. If it brings another NQN the old attachment
// is revoked, and so is what the recovery may hang on: it ends then, and the next call finds the volume free.
func (n *node) preempt(ctx context.Context, key string, req *csi.NodeStageVolumeRequest) {
	id, err := n.driver.parseVolumeID(req.GetVolumeId())
	if err != nil {
		return
	}
	a, err := n.attachmentOf(id, req.GetPublishContext())
	if err != nil || !a.target.Fenced || checkCapability(req.GetVolumeCapability()) != nil {
		return // it proves nothing, or is answered when the volume is free
	}
	r, found, err := n.load(key)
	if err != nil || !found || r.NQN == a.target.NQN || ctx.Err() != nil {
		return
	}
	if err := n.revoke(ctx, r, anotherNQN); err != nil {
		n.driver.cfg.Log.Warn("a recovery cannot be ended", append(telemetry.LogFields(ctx), zap.String("volume_id", key), zap.Error(err))...)
	}
}

// The proofs of revocation.
const (
	anotherNQN    = "it is published to this node under another NQN"
	operatorAsked = "an operator asked for it"
	notAttached   = "its VolumeAttachment to this node is gone"
)

// revocation gives the proof that what r stands for is revoked, "" where there is none. What Kubernetes says
// is asked anew each time: a proof is as old as its use.
func (n *node) revocation(ctx context.Context, r *stage.Record) (proof string, err error) {
	asked, err := n.cfg.Records.ReleaseAsked(r)
	switch {
	case err != nil:
		return "", fault.E("", fault.Unavailable, err)
	case asked:
		return operatorAsked, nil
	case n.gone.has(r) && n.attachmentGone(ctx, r):
		return notAttached, nil
	default:
		return "", nil
	}
}

// releaseAsked does what an operator asked for by the command release. A volume that is connected and
// has its device is not let go of by force: it can be unmounted like any other.
func (n *node) releaseAsked(ctx context.Context, r *stage.Record) error {
	status, err := n.connectorOf(r).Status(ctx, r.NQN, r.HostNQN)
	if err != nil {
		return err
	}
	if status.Link == nvme.LinkLive && !status.Num.IsZero() {
		if err := n.cfg.Records.WithdrawRelease(r.VolumeID); err != nil {
			return fault.E("", fault.Internal, err)
		}
		return fault.Errorf("release volume "+r.VolumeID, fault.Precondition, "it is connected; nothing was done: delete the pods that use it instead")
	}
	return fault.Wrap("release volume "+r.VolumeID, n.release(ctx, r, operatorAsked))
}

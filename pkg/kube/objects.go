package kube

import (
	"context"
	"fmt"
	"slices"
	"time"

	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
)

// nodeReference: kubelet's own events name a Node by its name in place of its UID, and that is what
// kubectl describe looks for (kubectl/pkg/describe, NodeDescriber).
func nodeReference(name string) *core.ObjectReference {
	return &core.ObjectReference{APIVersion: "v1", Kind: "Node", Name: name, UID: types.UID(name)}
}

func podReference(p stage.Pod) *core.ObjectReference {
	return &core.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: p.Namespace, Name: p.Name, UID: types.UID(p.UID)}
}

// claimAge is how long a claim that was found is taken for a volume's: a PersistentVolume can be made anew by
// the same name, for another claim.
const claimAge = time.Minute

// claimOf is what a claim is known by.
type claimOf struct {
	volumeID, pv string
}

type knownClaim struct {
	claim *core.ObjectReference
	found time.Time
}

// claim finds the PersistentVolumeClaim of a volume: its PersistentVolume names it with its UID, by which
// kubectl describe finds events.
func (e *Events) claim(ctx context.Context, r *stage.Record) (*core.ObjectReference, error) {
	name, err := e.volumeName(ctx, r)
	if err != nil {
		return nil, err
	}
	key := claimOf{volumeID: r.VolumeID, pv: name}
	if known := e.claims[key]; known.claim != nil && time.Since(known.found) < claimAge {
		return known.claim, nil
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	pv, err := e.cfg.Client.core.PersistentVolumes().Get(ctx, name, metav1.GetOptions{})
	switch {
	case err != nil:
		return nil, err
	case !e.isOf(pv, r.VolumeID):
		return nil, fmt.Errorf("the PersistentVolume %s is not of this volume", name)
	case pv.Spec.ClaimRef == nil:
		return nil, fmt.Errorf("the PersistentVolume %s has no claim", name)
	}
	c := pv.Spec.ClaimRef
	if len(e.claims) >= queuedEvents {
		clear(e.claims)
	}
	found := &core.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: c.Namespace, Name: c.Name, UID: c.UID}
	e.claims[key] = knownClaim{claim: found, found: time.Now()}
	return found, nil
}

// isOf tells whether the PersistentVolume names this driver and the volume, in either form of its handle.
func (e *Events) isOf(pv *core.PersistentVolume, volumeID string) bool {
	source := pv.Spec.CSI
	return source != nil && source.Driver == e.cfg.Driver && slices.Contains(handles(volumeID), source.VolumeHandle)
}

// volumeName is the PersistentVolume's: from the attachment that was seen, else from the one there is.
func (e *Events) volumeName(ctx context.Context, r *stage.Record) (string, error) {
	if r.Attachment != nil {
		return r.Attachment.PV, nil
	}
	for _, name := range e.attachments.names(r.VolumeID) {
		va, err := e.attachments.get(ctx, name)
		switch {
		case err == nil && e.attachments.ours(va):
			return *va.Spec.Source.PersistentVolumeName, nil
		case err != nil && !missing(err, name):
			return "", err
		}
	}
	return "", fmt.Errorf("it has no VolumeAttachment to this node")
}

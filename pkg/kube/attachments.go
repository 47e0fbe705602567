package kube

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	storage "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
)

// Attachments are the VolumeAttachments of one driver on one node. Every question goes to the API server
// itself: without a resourceVersion a GET is answered from etcd, never from a cache.
type Attachments struct {
	client       *Client
	driver, node string
}

// NewAttachments asks for those of a CSI driver on the Node of that name.
func NewAttachments(c *Client, driver, node string) *Attachments {
	return &Attachments{client: c, driver: driver, node: node}
}

// names are those that a volume's VolumeAttachment to this node can have: a PersistentVolume may name the
// volume in its long form or, written by hand, its short one (external-attacher: pkg/volume/csi/csi_attacher.go
// of Kubernetes, getAttachmentName).
func (a *Attachments) names(volumeID string) []string {
	names := handles(volumeID)
	for i, handle := range names {
		names[i] = fmt.Sprintf("csi-%x", sha256.Sum256([]byte(handle+a.driver+a.node)))
	}
	return names
}

// handles are those by which a PersistentVolume can name the volume.
func handles(volumeID string) []string {
	if _, slot, long := strings.Cut(volumeID, "/"); long {
		return []string{volumeID, slot}
	}
	return []string{volumeID}
}

// Find gives the VolumeAttachment by which the volume is published to this node, if its publish context is
// the one asked for. None is no error.
func (a *Attachments) Find(ctx context.Context, volumeID string, is func(publishContext map[string]string) bool) (stage.Attachment, bool, error) {
	op := "look for the VolumeAttachment of " + volumeID
	for _, name := range a.names(volumeID) {
		va, err := a.get(ctx, name)
		switch {
		case missing(err, name):
			continue
		case err != nil:
			return stage.Attachment{}, false, fault.E(op, class(err), err)
		case !a.ours(va) || !is(va.Status.AttachmentMetadata):
			continue
		}
		cluster, err := a.client.ClusterUID(ctx)
		if err != nil {
			return stage.Attachment{}, false, fault.Wrap(op, err)
		}
		return stage.Attachment{Name: name, UID: string(va.UID), PV: *va.Spec.Source.PersistentVolumeName, Cluster: cluster}, true, nil
	}
	return stage.Attachment{}, false, nil
}

func (a *Attachments) ours(va *storage.VolumeAttachment) bool {
	return va.Spec.Attacher == a.driver && va.Spec.NodeName == a.node && va.Spec.Source.PersistentVolumeName != nil && va.UID != ""
}

// Gone tells whether a VolumeAttachment that was seen is no more. It is true only if the API server of that
// same cluster says of each name that the volume's can have that there is none. An error proves nothing, and
// neither does one of the same name that was made anew. The cluster is asked for before and after: an address
// may lead to another one in between.
func (a *Attachments) Gone(ctx context.Context, volumeID string, seen stage.Attachment) (bool, error) {
	op, names := "ask whether "+volumeID+" is still attached", a.names(volumeID)
	if seen.UID == "" || seen.Cluster == "" || !slices.Contains(names, seen.Name) {
		return false, nil // it was seen under another driver or node name
	}
	if same, err := a.same(ctx, seen); err != nil || !same {
		return false, fault.Wrap(op, err)
	}
	for _, name := range names {
		if _, err := a.get(ctx, name); err == nil {
			return false, nil
		} else if !missing(err, name) {
			return false, fault.E(op, class(err), err)
		}
	}
	same, err := a.same(ctx, seen)
	return same, fault.Wrap(op, err)
}

// same tells whether the API server is of the cluster in which the attachment was seen.
func (a *Attachments) same(ctx context.Context, seen stage.Attachment) (bool, error) {
	cluster, err := a.client.ClusterUID(ctx)
	return err == nil && cluster == seen.Cluster, err
}

func (a *Attachments) get(ctx context.Context, name string) (*storage.VolumeAttachment, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	return a.client.storage.VolumeAttachments().Get(ctx, name, metav1.GetOptions{})
}

// class tells an error that was answered, and may be about one object only, from having no answer at all.
func class(err error) fault.Kind {
	if _, answered := errors.AsType[*apierrors.StatusError](err); answered {
		return fault.Internal
	}
	return fault.Unavailable
}

// missing tells whether err is the API server's word that there is no VolumeAttachment of that name. A 404 of
// a proxy, or of a server without this API, is made a NotFound by client-go too, but with a cause.
func missing(err error, name string) bool {
	refused, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok {
		return false
	}
	s := refused.ErrStatus
	return s.Code == http.StatusNotFound && s.Reason == metav1.StatusReasonNotFound && s.Details != nil && len(s.Details.Causes) == 0 &&
		s.Details.Group == storage.GroupName && s.Details.Kind == "volumeattachments" && s.Details.Name == name
}

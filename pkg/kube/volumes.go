package kube

import (
	"context"
	"errors"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/pager"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// Volumes are the PersistentVolumes of one cluster.
type Volumes struct {
	client  *Client
	cluster string
}

// NewVolumes asks for those of the cluster whose kube-system has the UID cluster.
func NewVolumes(c *Client, cluster string) *Volumes { return &Volumes{client: c, cluster: cluster} }

// Handles are the volume handles of all that are of a CSI driver, as they are written there; of whichever
// driver, as this one may have had another name, or have a twin on the same array. They are of one moment after
// the call: without a resourceVersion a list is answered from etcd's newest state, and its further pages from
// the state of the first. What is not all of them, or may be of another cluster, is an error: Precondition
// where the API server is another's. The cluster is asked for before and after, as an address may lead to
// another one in between.
func (v *Volumes) Handles(ctx context.Context) (map[string]bool, error) {
	const op = "list the PersistentVolumes"
	if err := v.same(ctx); err != nil {
		return nil, fault.Wrap(op, err)
	}
	found := handleList{of: v}
	if _, _, err := pager.New(found.page).List(ctx, metav1.ListOptions{}); err != nil {
		return nil, fault.E(op, class(err), err)
	}
	if err := v.same(ctx); err != nil {
		return nil, fault.Wrap(op, err)
	}
	return found.all, nil
}

// handleList collects handles page by page, so that what else is in PersistentVolumes need not stay in memory.
type handleList struct {
	of  *Volumes
	all map[string]bool
}

// page is one request, and gives back a list without its items, to be continued. A list that begins, also one
// that begins anew because its continuation has expired, is of another moment than what was collected before.
// Every list of an API server bears a resourceVersion; JSON of anybody else is read as an empty list.
func (h *handleList) page(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	list, err := h.of.client.core.PersistentVolumes().List(ctx, options)
	if err != nil {
		return nil, err
	}
	if list.ResourceVersion == "" {
		return nil, errors.New("the answer of " + h.of.client.host + " is no list of an API server")
	}
	if options.Continue == "" {
		h.all = map[string]bool{}
	}
	for _, pv := range list.Items {
		if source := pv.Spec.CSI; source != nil {
			h.all[source.VolumeHandle] = true
		}
	}
	list.Items = nil
	return list, nil
}

// same fails unless the API server is of the cluster.
func (v *Volumes) same(ctx context.Context) error {
	uid, err := v.client.ClusterUID(ctx)
	if err != nil {
		return err
	}
	if uid != v.cluster {
		return fault.Errorf("", fault.Precondition, "the API server %s has a kube-system with the UID %.63q, and the cluster id is %q: only by that UID as --cluster-id is the API server known to be that of the volumes",
			v.client.host, uid, v.cluster)
	}
	return nil
}

package kube

import (
	"context"
	"errors"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
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
	list, _, err := pager.New(v.page).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fault.E(op, class(err), err)
	}
	handles := map[string]bool{}
	err = meta.EachListItem(list, func(item runtime.Object) error {
		pv, ok := item.(*core.PersistentVolume)
		if !ok {
			return errors.New("the answer has something else in it")
		}
		if source := pv.Spec.CSI; source != nil {
			handles[source.VolumeHandle] = true
		}
		return nil
	})
	if err != nil {
		return nil, fault.E(op, fault.Internal, err)
	}
	if err := v.same(ctx); err != nil {
		return nil, fault.Wrap(op, err)
	}
	return handles, nil
}

// page is one request. Every list of an API server bears a resourceVersion; JSON of anybody else is read as
// an empty list.
func (v *Volumes) page(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	list, err := v.client.core.PersistentVolumes().List(ctx, options)
	if err == nil && list.ResourceVersion == "" {
		err = errors.New("the answer of " + v.client.host + " is no list of an API server")
	}
	return list, err
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

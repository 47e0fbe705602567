package kube

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// ClusterUID is the UID of the namespace kube-system, which tells one cluster from every other.
func (c *Client) ClusterUID(ctx context.Context) (string, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	ns, err := c.core.Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err == nil && ns.UID == "" {
		err = fmt.Errorf("the answer has no UID")
	}
	if err != nil {
		return "", fault.E("ask the API server "+c.host+" for the UID of the namespace kube-system", fault.Unavailable, err)
	}
	return string(ns.UID), nil
}

package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"
	core "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// After a try that did not come to an end, the next waits for so long.
	firstTaintPause, lastTaintPause = time.Second, 30 * time.Second
	// taintPatience is when nobody tries any more: a driver that is not registered by then needs a person.
	taintPatience = time.Hour
)

// StartupTaint keeps pods off a node until this driver is registered there: without it a pod that comes first
// fails to mount, and with a volume limit that is not yet known too many may come.
type StartupTaint struct {
	client            *Client
	node, driver, key string
	log               *zap.Logger
}

// NewStartupTaint is for the taints with that key, of any effect, on the Node of that name.
func NewStartupTaint(c *Client, node, driver, key string, log *zap.Logger) *StartupTaint {
	return &StartupTaint{client: c, node: node, driver: driver, key: key, log: log.With(zap.String("taint", key))}
}

// Run takes the taint off once the node's CSINode shows the driver, and ends then, with ctx, or when its
// patience does.
func (s *StartupTaint) Run(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, taintPatience)
	defer cancel()
	for pause := firstTaintPause; ; pause = min(2*pause, lastTaintPause) {
		done, err := s.try(ctx)
		if done {
			return
		}
		select {
		case <-ctx.Done():
			if context.Cause(ctx) == context.DeadlineExceeded {
				s.log.Error("the startup taint stays on this node: take it off by hand (kubectl taint nodes NODE KEY-), or restart the node plugin", zap.Error(err))
			}
			return
		case <-time.After(pause):
		}
	}
}

// try is done when the taint is off.
func (s *StartupTaint) try(ctx context.Context) (done bool, err error) {
	registered, err := s.registered(ctx)
	if err != nil || !registered {
		return false, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	node, err := s.client.core.Nodes().Get(ctx, s.node, metav1.GetOptions{})
	if err != nil {
		return false, err
	}
	kept := slices.DeleteFunc(slices.Clone(node.Spec.Taints), func(t core.Taint) bool { return t.Key == s.key })
	if len(kept) == len(node.Spec.Taints) {
		return true, nil
	}
	// The list is replaced as a whole, so only if nobody has changed the Node since.
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": node.ResourceVersion}, "spec": map[string]any{"taints": kept},
	})
	if err != nil {
		return false, err
	}
	if _, err := s.client.core.Nodes().Patch(ctx, s.node, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return false, err
	}
	s.log.Info("the startup taint is off: the driver is registered")
	return true, nil
}

func (s *StartupTaint) registered(ctx context.Context) (bool, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	node, err := s.client.storage.CSINodes().Get(ctx, s.node, metav1.GetOptions{})
	if err != nil {
		return false, fmt.Errorf("look for the driver in the CSINode: %w", err)
	}
	return slices.ContainsFunc(node.Spec.Drivers, func(d storage.CSINodeDriver) bool { return d.Name == s.driver }), nil
}

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
	// taintPatience is when it is said that a person should look.
	taintPatience = time.Hour
)

// StartupTaint keeps pods off a node until this driver is registered there: without it a pod that comes first
// fails to mount, and with a volume limit that is not yet known too many may come.
type StartupTaint struct {
	client *Client
	reg    Registration
	key    string
	log    *zap.Logger
}

// Registration is what a node's CSINode shows of a driver that kubelet has registered.
type Registration struct {
	Node   string // name of the Node
	Driver string // CSI driver name
	NodeID string // as NodeGetInfo gives it
}

// NewStartupTaint is for the taints with that key, of any effect, on the Node of the registration.
func NewStartupTaint(c *Client, reg Registration, key string, log *zap.Logger) *StartupTaint {
	return &StartupTaint{client: c, reg: reg, key: key, log: log.With(zap.String("taint", key))}
}

// Run takes the taint off once the node's CSINode shows the driver, and ends then, or with ctx.
func (s *StartupTaint) Run(ctx context.Context) { s.repeat(ctx, s.try) }

func (s *StartupTaint) repeat(ctx context.Context, try func(context.Context) (done bool, err error)) {
	began, told := time.Now(), false
	for pause := firstTaintPause; ; pause = min(2*pause, lastTaintPause) {
		done, err := try(ctx)
		if done || ctx.Err() != nil {
			return
		}
		if !told && time.Since(began) >= taintPatience {
			told = true
			s.log.Error("the startup taint is still on this node, as the driver is not registered there, or the Node cannot be changed: see the log of node-driver-registrar, "+
				"or take it off by hand (kubectl taint nodes NODE KEY-); it is tried again all the time", zap.Error(err))
		}
		select {
		case <-ctx.Done():
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
	node, err := s.client.core.Nodes().Get(ctx, s.reg.Node, metav1.GetOptions{})
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
	if _, err := s.client.core.Nodes().Patch(ctx, s.reg.Node, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return false, err
	}
	s.log.Info("the startup taint is off: the driver is registered")
	return true, nil
}

func (s *StartupTaint) registered(ctx context.Context) (bool, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	node, err := s.client.storage.CSINodes().Get(ctx, s.reg.Node, metav1.GetOptions{})
	if err != nil {
		return false, fmt.Errorf("look for the driver in the CSINode: %w", err)
	}
	// An entry of another node id is of an earlier registration.
	return slices.ContainsFunc(node.Spec.Drivers, func(d storage.CSINodeDriver) bool {
		return d.Name == s.reg.Driver && d.NodeID == s.reg.NodeID
	}), nil
}

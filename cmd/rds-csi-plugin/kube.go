package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/driver"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/kube"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/reconcile"
)

// openKube prepares to talk to the API server; nil where there is none, as the driver works without.
func openKube(o *options, log *zap.Logger) (*kube.Client, error) {
	api, err := kube.Open(o.kubeconfig, "rds-csi-plugin/"+version)
	switch {
	case err == nil:
		return api, nil
	case errors.Is(err, kube.ErrNone):
		return nil, nil
	case o.kubeconfig != "":
		return nil, usageError{fmt.Errorf("--kubeconfig: %w", err)}
	}
	log.Warn("this pod cannot talk to the API server: no events, and no proof by VolumeAttachments; give its service account a token", zap.Error(err))
	return nil, nil
}

// newEvents prepares to post events, where there is an API server.
func (p *process) newEvents() {
	o := p.options
	if p.api == nil {
		if o.startupTaint != "" {
			p.log.Warn("--startup-taint: without an API server the taint stays on this node")
		}
		return
	}
	cfg := kube.EventsConfig{Client: p.api, Driver: o.driverName, Pod: o.pod, Metrics: p.telemetry.Metrics(), Log: p.log}
	if o.node {
		cfg.Node = o.nodeID
	}
	p.posts = kube.NewEvents(cfg)
}

// backendWithKube has the API server told of the array, and asked what the array's volumes are for.
func (p *process) backendWithKube() {
	o := p.options
	if p.api == nil {
		return
	}
	p.backend.Tell(p.posts)
	p.orphans = reconcile.NewOrphans(reconcile.OrphansConfig{
		Handles: kube.NewVolumes(p.api, o.clusterID), Array: o.arrayName, Grace: o.orphanGrace, Tracer: p.telemetry.Tracer(), Log: p.log,
	})
	p.backend.Compare(p.orphans)
}

// runKube starts what talks to the API server. No call waits for any of it.
func (p *process) runKube(ctx context.Context, running *sync.WaitGroup) {
	running.Go(func() { p.posts.Run(ctx) })
	if p.orphans != nil {
		running.Go(func() { p.orphans.Run(ctx) })
	}
	if p.options.node {
		running.Go(func() { reconcile.NewAttachments(p.driver.Staged(), p.log).Run(ctx) })
	}
	if o := p.options; o.node && o.startupTaint != "" {
		reg := kube.Registration{Node: o.nodeID, Driver: o.driverName, NodeID: p.nodeID}
		running.Go(func() { kube.NewStartupTaint(p.api, reg, o.startupTaint, p.log).Run(ctx) })
	}
}

const noClusterID = "--cluster-id is missing: give the UID of the namespace kube-system (kubectl get namespace kube-system -o jsonpath={.metadata.uid}), the same for controller and nodes"

// findCluster makes the UID of the namespace kube-system the cluster id, where none was given. A node keeps it,
// since it may have to start while the API server is away.
func (o *options) findCluster(ctx context.Context, api *kube.Client, log *zap.Logger) error {
	if o.clusterID != "" {
		return nil
	}
	id, err := clusterUID(ctx, api)
	if err == nil {
		o.clusterID = id
		if err := o.keepCluster(id); err != nil {
			log.Warn("the cluster's id cannot be kept: this node will need the API server to start", zap.Error(err))
		}
		return nil
	}
	if o.clusterID = o.keptCluster(); o.clusterID == "" {
		return err
	}
	log.Warn("the API server does not tell the cluster's id; the one it told before is taken", zap.String("cluster_id", o.clusterID), zap.Error(err))
	return nil
}

func clusterUID(ctx context.Context, api *kube.Client) (string, error) {
	if api == nil {
		return "", usageError{errors.New(noClusterID)}
	}
	id, err := api.ClusterUID(ctx)
	if err == nil && !driver.ValidClusterID(id) {
		err = fmt.Errorf("the UID %.100q of the namespace kube-system cannot be a cluster id", id)
	}
	if err != nil {
		return "", fmt.Errorf("--cluster-id is not given and cannot be found out: %w; see that the service account may get that namespace, or give --cluster-id", err)
	}
	return id, nil
}

func (o *options) clusterFile() (string, error) {
	dir, err := o.stateDir()
	return filepath.Join(dir, "cluster-id"), err
}

func (o *options) keptCluster() string {
	path, err := o.clusterFile()
	if err != nil || !o.node {
		return ""
	}
	data, err := os.ReadFile(path)
	if id := strings.TrimSpace(string(data)); err == nil && driver.ValidClusterID(id) {
		return id
	}
	return ""
}

func (o *options) keepCluster(id string) error {
	if !o.node || o.keptCluster() == id {
		return nil
	}
	path, err := o.clusterFile()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keep the cluster's id: %w", err)
	}
	if err := host.ReplaceFile(path, []byte(id+"\n")); err != nil {
		return fmt.Errorf("keep the cluster's id: %w", err)
	}
	return nil
}

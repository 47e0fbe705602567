package driver

import (
	"context"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
)

// linkOf tells how a volume is connected.
type linkOf func(r *stage.Record) (nvme.Status, error)

// links reads the state of all connections once, and answers by that.
func (n *node) links(ctx context.Context) (linkOf, error) {
	statuses := map[Transport]map[string]nvme.StatusOrError{}
	for _, conn := range n.connectors() {
		found, err := conn.Statuses(ctx, n.cfg.ID.HostNQN())
		if err != nil {
			return nil, err
		}
		statuses[conn] = found
	}
	return func(r *stage.Record) (nvme.Status, error) {
		if r.HostNQN != n.cfg.ID.HostNQN() { // of an identity this node had before
			return n.link(ctx)(r)
		}
		s, there := statuses[n.connectorOf(r)][r.NQN]
		if !there {
			return nvme.Status{Link: nvme.LinkGone}, nil
		}
		return s.Status, s.Err
	}, nil
}

// link reads the state of each volume when it is asked.
func (n *node) link(ctx context.Context) linkOf {
	return func(r *stage.Record) (nvme.Status, error) {
		return n.connectorOf(r).Status(ctx, r.NQN, r.HostNQN)
	}
}

package rds

import (
	"context"
	"slices"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// Unpublish takes the volume from a node; an empty node means from every node. changed is false
// where the node held nothing. When the last holder goes, the export ends and its NQN with it:
// a node that comes back later finds nothing to write to. When one of two goes, the export stays,
// and with it the live session of the one that went (the array cannot cut a single host).
func (a *Array) Unpublish(ctx context.Context, slot string, node Node) (changed bool, err error) {
	op := "unpublish volume " + slot + " from " + nameOf(node)
	reply, err := a.run(ctx, telemetry.CommandUnexport, a.cut(slot, node).body)
	if err != nil {
		return false, fault.Wrap(op, err)
	}
	_, changed = reply.Value("cut")
	v, err := theVolume(reply, slot)
	if fault.KindOf(err) == fault.NotFound {
		return changed, nil // gone altogether: nobody can hold it
	}
	if err != nil {
		return changed, fault.Wrap(op, err)
	}
	if changed && v.Exported {
		return true, fault.Errorf(op, fault.Unavailable, "the array took the command but still exports the volume as %s", v.NQN)
	}
	if !v.Exported || !a.stillIn(v, node) {
		return changed, nil
	}
	return true, fault.Wrap(op, a.leave(ctx, v, node))
}

func nameOf(node Node) string {
	if node.ID == "" {
		return "every node"
	}
	return node.ID
}

// cut ends the export if the node is its only holder. With an ACL that is what decides: the
// comment may have been edited by hand, and a holder that can still connect must be fenced.
func (a *Array) cut(slot string, node Node) unexportScript {
	script := unexportScript{slot: slot, mark: a.mark}
	switch {
	case node.ID == "":
	case a.hostACL:
		script.host = node.HostNQN
	default:
		script.holder = holder(node.ID)
	}
	return script
}

func (a *Array) stillIn(v Volume, node Node) bool {
	if node.ID == "" {
		return v.Marked(a.cluster) || len(v.Record.Holders) > 0
	}
	return slices.Contains(v.Hosts, node.HostNQN) || v.Record.HeldBy(node.ID)
}

// leave takes one of two holders out and keeps the export for the other.
func (a *Array) leave(ctx context.Context, v Volume, node Node) error {
	without := func(list []string, gone string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == gone })
	}
	holders, hosts := without(v.Record.Holders, node.ID), without(v.Hosts, node.HostNQN)
	if node.ID == "" || len(hosts) == 0 || !v.Marked(a.cluster) && !v.Foreign() {
		return fault.Errorf("", fault.Precondition, "it is still exported to %s (record: %s); set nvme-tcp-export=no by hand if no node uses it", v.describeACL(), v.describeHolders())
	}
	_, err := a.setHolders(ctx, v, holders, hosts)
	return err
}

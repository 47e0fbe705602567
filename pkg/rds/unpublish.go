package rds

import (
	"context"
	"errors"
	"slices"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// Unpublish takes the volume from a node; an empty node means from every node. changed is false
// where the node held nothing. When the last holder goes, the export ends and its NQN with it:
// a node that comes back later finds nothing to write to. When one of two goes, the export stays,
// and with it the live session of the one that went (the array cannot cut a single host).
//
// nil says that the node cannot connect from now on, whatever was edited by hand.
func (a *Array) Unpublish(ctx context.Context, slot string, node Node) (changed bool, err error) {
	op := "unpublish volume " + slot + " from " + nameOf(node)
	script := unexportScript{slot: slot, mark: a.mark, node: node}
	reply, err := a.change(ctx, telemetry.CommandUnexport, slot, script.body)
	if err != nil {
		return false, fault.Wrap(op, err)
	}
	_, changed = reply.Value("cut")
	v, err := theVolume(reply, slot)
	switch {
	case fault.KindOf(err) == fault.NotFound, errors.Is(err, errNoFileDisk):
		return changed, nil // such an item is never published
	case err != nil:
		return changed, fault.Wrap(op, err)
	case changed && v.Exported:
		return true, fault.Errorf(op, fault.Unavailable, "the array took the command but still exports the volume as %s", v.NQN)
	case changed || a.free(v, node):
		return changed, nil
	default:
		return true, fault.Wrap(op, a.leave(ctx, v, node))
	}
}

func nameOf(node Node) string {
	if node.ID == "" {
		return "every node"
	}
	return node.ID
}

// free tells that the node, or every node, is proven to hold nothing of the volume.
func (a *Array) free(v Volume, node Node) bool {
	switch {
	case !v.Foreign() && !v.Marked(a.cluster):
		return true // another cluster's: never published by this one
	case slices.Contains(v.Hosts, node.HostNQN), v.Record.HeldBy(node.ID):
		return false
	case !v.Exported, len(v.Record.Holders) > 0:
		return true
	case node.ID == "":
		return true // exported, and not by this driver
	default:
		// An export of ours whose record was lost, and that lets in anybody.
		return len(v.Hosts) > 0 || !MatchesSlot(v.NQN, v.Slot)
	}
}

// leave takes one of two holders out and keeps the export for the other. An ACL that would become
// empty is not written: it would let in anybody.
func (a *Array) leave(ctx context.Context, v Volume, node Node) error {
	without := func(list []string, gone string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == gone })
	}
	holders, hosts := without(v.Record.Holders, node.ID), without(v.Hosts, node.HostNQN)
	if len(holders) == 0 || len(v.Hosts) > 0 && len(hosts) == 0 {
		return fault.Errorf("", fault.Precondition, "it is exported to %s, and its record names %s: somebody has edited it; set nvme-tcp-export=no by hand once no node uses it", v.describeACL(), v.describeRecord())
	}
	_, err := a.setHolders(ctx, v, holders, hosts)
	return err
}

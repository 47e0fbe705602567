package rds

import (
	"context"
	"slices"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// Node is one that may hold a volume.
type Node struct {
	ID      string // CSI node id
	HostNQN string // what it connects as
}

// PublishRequest asks for a volume to be exported to a node.
type PublishRequest struct {
	Slot        string
	Node        Node
	Mode        Mode
	TraceParent string // kept with the fence token
}

// Published is an export that one node may connect to.
type Published struct {
	Volume
	TraceParent string // of the call that drew the token
	Repeat      bool   // nothing was changed
	Simulated   bool
}

// Publish exports the volume to the node and to no other, or finds that it is so already.
// Busy, naming the holder, where another node holds it. Two controllers that publish at the same
// moment both write; the ACL then holds one host, and the other's node is refused at connect.
func (a *Array) Publish(ctx context.Context, req PublishRequest) (Published, error) {
	op := "publish volume " + req.Slot + " to " + req.Node.ID
	script := exportScript{slot: req.Slot, mark: a.mark, port: a.port, nqn: NQN(req.Slot, newToken())}
	script.held = held(req.Mode, tokenOf(script.nqn), req.TraceParent, req.Node.ID)
	if a.hostACL {
		script.host = req.Node.HostNQN
	}
	reply, err := a.change(ctx, telemetry.CommandExport, req.Slot, script.body)
	if err != nil {
		return Published{}, fault.Wrap(op, err)
	}
	set, err := reply.Int("set")
	if err != nil {
		return Published{}, fault.E(op, fault.UnknownOutcome, err)
	}
	v, err := theVolume(reply, req.Slot)
	if err != nil {
		return Published{}, fault.Wrap(op, err)
	}
	p := Published{Volume: v, Repeat: set == 0, Simulated: Resource{Board: reply.Board}.Simulated()}
	if p.Repeat && a.joinable(v, req) {
		p.Volume, err = a.join(ctx, v, req.Node)
		p.Repeat = false
	}
	if err == nil {
		err = a.heldAsAsked(p.Volume, req)
	}
	if err != nil && set == 1 {
		err = a.withdraw(ctx, req, err)
	}
	p.TraceParent = p.Record.TraceParent
	return p, fault.Wrap(op, err)
}

func tokenOf(nqn string) string { return nqn[len(nqn)-2*tokenBytes:] }

// withdraw ends an export that this call has begun and that did not read back as asked: one with an
// ACL that the array did not take lets in anybody. A rival's export is left alone.
func (a *Array) withdraw(ctx context.Context, req PublishRequest, cause error) error {
	script := unexportScript{slot: req.Slot, mark: a.mark, node: req.Node}
	if _, err := a.change(ctx, telemetry.CommandUnexport, req.Slot, script.body); err != nil {
		return fault.Errorf("", fault.Unavailable, "%w (and the export could not be taken back: %w)", cause, err)
	}
	return cause
}

// heldAsAsked is nil only if ACL, token and record read back as ours.
func (a *Array) heldAsAsked(v Volume, req PublishRequest) error {
	const again = "unpublish it from every node, then publish again"
	switch holders := v.Record.Holders; {
	case !v.Foreign() && !v.Marked(a.cluster):
		return explain(fault.Errorf("", fault.Precondition, errOtherCluster))
	case len(holders) > 0 && !v.Record.HeldBy(req.Node.ID):
		return fault.Errorf("", fault.Busy, "it is published to %s; it must be unpublished there first", v.describeHolders())
	case len(holders) > 0 && v.Record.Mode != req.Mode:
		return fault.Errorf("", fault.Conflict, "it is published to %s as %s, not as %s", v.describeHolders(), v.Record.Mode, req.Mode)
	case !v.Exported && len(holders) > 0:
		return fault.Errorf("", fault.Precondition, "its record names %s, but it is not exported: somebody turned that off; %s", v.describeHolders(), again)
	case !v.Exported:
		return fault.Errorf("", fault.Unavailable, "the array took the command but does not export the volume")
	case len(holders) == 0:
		return fault.Errorf("", fault.Busy, "it is exported to %s already, and not by this driver; set nvme-tcp-export=no first", v.describeHolders())
	case v.NQN == "":
		return fault.Errorf("", fault.Precondition, "the array shows no nvme-tcp-server-nqn for it; set one")
	case !v.Foreign() && v.NQN != NQN(v.Slot, v.Record.Token):
		return fault.Errorf("", fault.Precondition, "its NQN is %s, but its record has token %s; %s", v.NQN, v.Record.Token, again)
	default:
		return a.aclAsAsked(v, req.Node)
	}
}

func (a *Array) aclAsAsked(v Volume, node Node) error {
	switch {
	case !a.hostACL && len(v.Hosts) > 0:
		return fault.Errorf("", fault.Precondition, "--rds-host-acl is off, but its ACL lets in %s only; set nvme-tcp-server-allow-host-name=\"\"", v.describeACL())
	case a.hostACL && (!slices.Contains(v.Hosts, node.HostNQN) || len(v.Hosts) != len(v.Record.Holders)):
		return fault.Errorf("", fault.Precondition, "its record names %s, but its ACL lets in %s; unpublish it from every node, then publish again", v.describeHolders(), v.describeACL())
	default:
		return nil
	}
}

// maxHolders: the source and the target of a live migration.
const maxHolders = 2

func (a *Array) joinable(v Volume, req PublishRequest) bool {
	holders := v.Record.Holders
	return req.Mode == ModeShared && v.Record.Mode == ModeShared && a.hostACL && v.Exported && (v.Marked(a.cluster) || v.Foreign()) &&
		len(holders) > 0 && len(holders) < maxHolders && !v.Record.HeldBy(req.Node.ID) && len(v.Hosts) == len(holders)
}

// join lets a further node in beside the holder. Token and traceparent stay.
func (a *Array) join(ctx context.Context, v Volume, node Node) (Volume, error) {
	return a.setHolders(ctx, v, append(slices.Clone(v.Record.Holders), node.ID), append(slices.Clone(v.Hosts), node.HostNQN))
}

func (a *Array) setHolders(ctx context.Context, v Volume, holders, hosts []string) (Volume, error) {
	state := held(v.Record.Mode, v.Record.Token, v.Record.TraceParent, holders...)
	reply, err := a.change(ctx, telemetry.CommandExport, v.Slot, replaceHolders(v.Slot, stateOf(v.Comment), state, joinACL(hosts...)))
	if err != nil {
		return Volume{}, err
	}
	after, err := theVolume(reply, v.Slot)
	if err != nil {
		return Volume{}, err
	}
	if !slices.Equal(after.Hosts, hosts) || stateOf(after.Comment) != separator+state {
		return Volume{}, fault.Errorf("", fault.Unavailable, "another command changed its holders at the same time; it is now held by %s", after.describeHolders())
	}
	return after, nil
}

func (v Volume) describeACL() string {
	if len(v.Hosts) == 0 {
		return "any host"
	}
	return joinACL(v.Hosts...)
}

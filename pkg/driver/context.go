package driver

import (
	"maps"
	"strconv"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// keyBlank in the volume context is the promise that the volume was created empty: only
// CreateVolume without a source gives it (design.md §6 rule 2).
const keyBlank = "blank"

// Keys of the publish context, beside those of params.go.
const (
	keyNQN         = "nqn"
	keySize        = "size" // bytes; the device is never smaller
	keyTraceParent = "traceparent"
	keySimulated   = "simulated"
)

const yes = "true"

// volumeContext is what a volume carries for life: how to reach it, and what it was made for.
func volumeContext(params map[string]string) map[string]string {
	context := map[string]string{keyBlank: yes}
	for key, value := range params {
		_, tuned := tuning()[key]
		if tuned || key == keyNVMeAddress || key == keyNVMePort || key == keyPVCName || key == keyPVCNamespace {
			context[key] = value
		}
	}
	return context
}

// publishContext is all that a node needs to connect.
func publishContext(p rds.Published, c connection) map[string]string {
	context := map[string]string{
		keyNQN:            p.NQN,
		keySize:           strconv.FormatUint(p.Size, 10),
		keyNVMeAddress:    c.addresses,
		keyNVMePort:       c.port,
		keyNrIOQueues:     strconv.Itoa(c.options.NrIOQueues),
		keyCtrlLossTmo:    strconv.Itoa(c.options.CtrlLossTmo),
		keyReconnectDelay: strconv.Itoa(c.options.ReconnectDelay),
		keyKeepAliveTmo:   strconv.Itoa(c.options.KeepAliveTmo),
		keyFastIOFailTmo:  strconv.Itoa(c.options.FastIOFailTmo),
	}
	if p.TraceParent != "" {
		context[keyTraceParent] = p.TraceParent
	}
	if p.Simulated {
		context[keySimulated] = yes
	}
	return context
}

// attachment is a publish context as the node reads it.
type attachment struct {
	target      nvme.Target
	size        uint64 // bytes
	traceParent string
	simulated   bool
	context     map[string]string
}

// parseAttachment reads a publish context for the node with id. What is missing means that the
// volume was not published: the CO broke the order of calls.
func parseAttachment(context map[string]string, id NodeID) (attachment, error) {
	nqn := context[keyNQN]
	if nqn == "" {
		return attachment{}, invalid("publish_context", "has no %s; the volume must be published by the controller first", keyNQN)
	}
	if len(nqn) > 223 || !strings.HasPrefix(nqn, "nqn.") || strings.ContainsFunc(nqn, func(r rune) bool { return r <= ' ' || r > '~' || r == ',' }) {
		return attachment{}, invalid("publish_context."+keyNQN, "%.230q is no NVMe qualified name", nqn)
	}
	size, err := strconv.ParseUint(context[keySize], 10, 63)
	if err != nil {
		return attachment{}, invalid("publish_context."+keySize, "%.40q is no number of bytes", context[keySize])
	}
	portals, err := parsePortals(context[keyNVMeAddress], context[keyNVMePort])
	if err != nil {
		return attachment{}, fault.Wrap("publish_context", err)
	}
	options, err := parseOptions(context)
	if err != nil {
		return attachment{}, fault.Wrap("publish_context", err)
	}
	return attachment{
		target:      nvme.Target{NQN: nqn, HostNQN: id.HostNQN(), HostID: id.HostID(), Portals: portals, Options: options},
		size:        size,
		traceParent: context[keyTraceParent],
		simulated:   context[keySimulated] == yes,
		context:     maps.Clone(context),
	}, nil
}

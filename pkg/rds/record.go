package rds

import (
	"slices"
	"strings"
)

// The comment of a volume's item reads
//
//	rds-csi cluster=K pvc=NAMESPACE/NAME pv=NAME -- rds-csi held mode=M token=T trace=TP by=NODE;by=NODE;
//	rds-csi cluster=K pvc=NAMESPACE/NAME pv=NAME -- rds-csi free
//
// The part before the separator is written once and kept by every later command, so that
// one exec can change the rest without reading first. On items of other tools their own
// comment stands before the separator, and the separator goes with the last holder.
const (
	mark      = "rds-csi cluster="
	separator = " -- rds-csi "
	stateFree = "free"
	stateHeld = "held"
)

// Record is what the driver has noted on a volume's item.
type Record struct {
	Cluster     string // "" on items of other tools
	PVC         string // namespace/name, "" where unknown
	PV          string
	Mode        Mode     // how the holders use it, "" while no node holds the volume
	Token       string   // fence token, "" while no node holds the volume; items of other tools have one too, but not in their NQN
	TraceParent string   // of the publish that drew the token
	Holders     []string // node ids
}

// Mode is how a holder uses a volume. Only holders in ModeShared may be two.
type Mode string

// The modes.
const (
	ModeMount  Mode = "mount"  // a file system, on one node
	ModeBlock  Mode = "block"  // raw, on one node
	ModeShared Mode = "shared" // raw, on the source and the target of a live migration
)

// Origin names what a volume was made for.
type Origin struct {
	PVCNamespace, PVCName, PVName string
}

// markOf is how the comment of every volume of a cluster begins.
func markOf(cluster string) string { return mark + cluster + " " }

// describe is the part of the comment that is written at creation.
func describe(cluster string, o Origin) string {
	pvc := "-"
	if o.PVCName != "" {
		pvc = word(o.PVCNamespace) + "/" + word(o.PVCName)
	}
	return markOf(cluster) + "pvc=" + pvc + " pv=" + word(o.PVName)
}

// word keeps the record's own syntax safe from names that are no Kubernetes names.
func word(s string) string {
	if s == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if r > ' ' && r < 0x7f && r != ';' && r != '=' {
			return r
		}
		return '_'
	}, s)
}

// held is the part of the comment behind the separator while nodes hold the volume.
func held(mode Mode, token, traceParent string, holders ...string) string {
	var b strings.Builder
	b.WriteString(stateHeld + " mode=" + string(mode) + " token=" + word(token) + " trace=" + word(traceParent) + " ")
	for _, h := range holders {
		b.WriteString(holder(h))
	}
	return b.String()
}

// holder is how a node stands in the comment. The closing semicolon keeps one node's id
// from being found inside another's.
func holder(nodeID string) string { return holderKey + nodeID + ";" }

const holderKey = "by="

// parseRecord reads a comment. One that is not ours gives an empty record.
func parseRecord(comment string) Record {
	var r Record
	static, state, _ := strings.Cut(comment, separator)
	if rest, ok := strings.CutPrefix(static, mark); ok {
		fields := strings.Fields(rest)
		if len(fields) > 0 {
			r.Cluster = fields[0]
		}
		r.PVC, r.PV = field(fields, "pvc"), field(fields, "pv")
	}
	words := strings.Fields(state)
	if len(words) == 0 || words[0] != stateHeld {
		return r
	}
	r.Mode = Mode(field(words, "mode"))
	r.Token, r.TraceParent = field(words, "token"), field(words, "trace")
	for part := range strings.SplitSeq(words[len(words)-1], ";") {
		if node, ok := strings.CutPrefix(part, holderKey); ok {
			r.Holders = append(r.Holders, node)
		}
	}
	return r
}

// field is the value of "key=value" among words, "" where it is missing or "-".
func field(words []string, key string) string {
	for _, w := range words {
		if v, ok := strings.CutPrefix(w, key+"="); ok && v != "-" {
			return v
		}
	}
	return ""
}

// HeldBy tells whether the record names the node as a holder.
func (r Record) HeldBy(nodeID string) bool { return slices.Contains(r.Holders, nodeID) }

// stateOf is the changing part of a comment, with its separator.
func stateOf(comment string) string {
	_, state, found := strings.Cut(comment, separator)
	if !found {
		return ""
	}
	return separator + state
}

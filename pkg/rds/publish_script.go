package rds

import (
	"strconv"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
)

type exportScript struct {
	slot, mark      string // mark: how comments of this cluster begin
	nqn, host, held string // host "" leaves the ACL alone
	port            int
}

// body exports the volume if nobody holds it, in one `set`: ACL, NQN, record, export. One that is
// held or exported already is only shown.
func (s exportScript) body(put routeros.Put) string {
	return join(
		":local rdsF "+fileDisk(s.slot, " nvme-tcp-export=no"),
		":local rdsN 0",
		when(one("rdsF"),
			readComment("rdsF"),
			when(otherCluster(s.mark), raise(errOtherCluster)),
			when("!("+stateHas(separator+stateHeld)+")",
				":set rdsN 1",
				readPath("rdsF"),
				fileMustExist(),
				":if ("+startsWith(s.mark)+") do={"+s.set(true)+"} else={"+join(when(ownForm(s.slot), raise(errEdited)), s.set(false))+"}",
			),
		),
		put("set", "$rdsN"),
		rowOf(put, s.slot),
	)
}

// set looks once more for an item that is not exported, so that of two controllers as few as
// possible write at the same moment. Items of other tools keep their NQN.
func (s exportScript) set(own bool) string {
	text := "/disk set " + fileDisk(s.slot, " nvme-tcp-export=no") +
		" comment=($rdsC . " + routeros.Quote(separator+s.held) + ") nvme-tcp-server-port=" + strconv.Itoa(s.port)
	if own {
		text += " nvme-tcp-server-nqn=" + routeros.Quote(s.nqn)
	}
	if s.host != "" {
		text += " nvme-tcp-server-allow-host-name=" + routeros.Quote(s.host)
	}
	return text + " nvme-tcp-export=yes"
}

// unexportScript ends the export for a node that is the only holder, or for every node where none
// is named. Else it only shows the volume.
type unexportScript struct {
	slot, mark string
	node       Node
}

// body takes export, token and record down in one `set`. The token's NQN is gone for good: that is
// the fence (design.md §5). Items of another cluster are none of ours, whoever holds them.
func (s unexportScript) body(put routeros.Put) string {
	set := "/disk set $rdsF nvme-tcp-export=no comment="
	closed := " nvme-tcp-server-nqn=" + routeros.Quote(closedNQN(s.slot))
	return join(
		":local rdsF "+fileDisk(s.slot, ""),
		when(one("rdsF"),
			readComment("rdsF"),
			readPath("rdsF"),
			when("!("+otherCluster(s.mark)+") && ("+s.condition()+")",
				put("cut", `"1"`),
				":if ("+startsWith(s.mark)+") do={"+set+"($rdsC . "+routeros.Quote(separator+stateFree)+")"+closed+
					"} else={:if ("+ownForm(s.slot)+") do={"+set+"$rdsC"+closed+"} else={"+set+"$rdsC}}",
			),
		),
		rowOf(put, s.slot),
	)
}

// condition: the record names this node alone; or it names nobody, and the ACL lets in this node
// alone (the record was edited by hand). For every node: whatever the driver has exported.
func (s unexportScript) condition() string {
	exported := " nvme-tcp-export=yes"
	if s.node.ID == "" {
		return "(" + stateHas(separator+stateHeld) + ") || (((" + startsWith(s.mark) + ") || (" + ownForm(s.slot) + ")) && ([:len " + fileDisk(s.slot, exported) + "] = 1))"
	}
	alone := `$rdsS~` + routeros.Quote(" "+literally(holder(s.node.ID))+"$")
	nobody := "!(" + stateHas(" "+holderKey) + ")"
	mine := "[:len " + fileDisk(s.slot, exported+" nvme-tcp-server-allow-host-name="+routeros.Quote(s.node.HostNQN)) + "] = 1"
	return "(" + alone + ") || ((" + nobody + ") && (" + mine + "))"
}

// literally makes a regular expression of a node id, in which only the dot means something else.
func literally(text string) string { return strings.ReplaceAll(text, ".", "[.]") }

// replaceHolders changes ACL and record of an exported volume if its state is still the one that
// was read. The part of the comment that is not ours to change never leaves the array.
func replaceHolders(slot, oldState, newState, acl string) routeros.Body {
	return func(put routeros.Put) string {
		set := "/disk set $rdsF comment=($rdsC . " + routeros.Quote(separator+newState) + ")"
		if acl != "" {
			set += " nvme-tcp-server-allow-host-name=" + routeros.Quote(acl)
		}
		return join(
			":local rdsF "+fileDisk(slot, ""),
			when(one("rdsF"),
				readComment("rdsF"),
				when("$rdsS = "+routeros.Quote(oldState), set),
			),
			rowOf(put, slot),
		)
	}
}

package rds

import (
	"strconv"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
)

type exportScript struct {
	slot, mark      string // mark: how comments of this cluster begin
	nqn, host, held string // host "" leaves the ACL alone
	port            int
}

// body exports the volume if it is not exported, in one `set`: ACL, NQN, record, export.
// A volume that is exported already is only shown.
func (s exportScript) body(put routeros.Put) string {
	return join(
		findSlot(s.slot),
		count(put, "n", "rdsD"),
		":local rdsF [/disk find where slot="+routeros.Quote(s.slot)+" type=file nvme-tcp-export=no]",
		count(put, "free", "rdsF"),
		":if ([:len $rdsF] = 1) do={"+join(
			readComment("rdsF"),
			":if (("+startsWith(mark)+") && !("+startsWith(s.mark)+")) do={"+raise(errOtherCluster)+"}",
			fileMustExist("rdsF"),
			":if ("+startsWith(s.mark)+") do={"+s.set(true)+"} else={"+s.set(false)+"}",
		)+"}",
		rowOf(put, s.slot),
	)
}

// set exports what rdsF names. Items of other tools keep their NQN.
func (s exportScript) set(own bool) string {
	text := "/disk set $rdsF comment=($rdsC . " + routeros.Quote(separator+s.held) + ") nvme-tcp-server-port=" + strconv.Itoa(s.port)
	if own {
		text += " nvme-tcp-server-nqn=" + routeros.Quote(s.nqn)
	}
	if s.host != "" {
		text += " nvme-tcp-server-allow-host-name=" + routeros.Quote(s.host)
	}
	return text + " nvme-tcp-export=yes"
}

// fileMustExist stops where the backing file was removed behind our back, so that the
// array cannot make a new, empty one in its place.
func fileMustExist(variable string) string {
	return join(
		":local rdsG [:tostr [/disk get $"+variable+" file-path]]",
		`:if ([:pick $rdsG 0 1] = "/") do={:set rdsG [:pick $rdsG 1 [:len $rdsG]]}`,
		":if ([:len [/file find where name=$rdsG]] = 0) do={"+raise(errFileGone)+"}",
	)
}

type unexportScript struct {
	slot, mark string
	host       string // ACL that must match; "" where the ACL is off or every holder goes
	holder     string // text that the comment must have; "" where host decides or every holder goes
}

// body takes the export down in one `set`, record and token with it. The token's NQN is
// gone for good: that is the fence (design.md §5).
func (s unexportScript) body(put routeros.Put) string {
	where := "slot=" + routeros.Quote(s.slot) + " type=file nvme-tcp-export=yes"
	if s.host != "" {
		where += " nvme-tcp-server-allow-host-name=" + routeros.Quote(s.host)
	}
	return join(
		findSlot(s.slot),
		count(put, "n", "rdsD"),
		":local rdsF [/disk find where "+where+"]",
		":if ([:len $rdsF] = 1) do={"+join(
			":local rdsA [:tostr [/disk get $rdsF comment]]",
			readComment("rdsF"),
			":if ("+s.condition()+") do={"+join(
				put("cut", `"1"`),
				":if ("+startsWith(s.mark)+") do={/disk set $rdsF nvme-tcp-export=no nvme-tcp-server-nqn="+routeros.Quote(closedNQN(s.slot))+
					" comment=($rdsC . "+routeros.Quote(separator+stateFree)+")} else={/disk set $rdsF nvme-tcp-export=no comment=$rdsC}",
			)+"}",
		)+"}",
		rowOf(put, s.slot),
	)
}

// condition is what must hold of the full comment (rdsA) or its static part (rdsC).
func (s unexportScript) condition() string {
	switch {
	case s.host != "":
		return "true"
	case s.holder != "":
		return `[:typeof [:find $rdsA ` + routeros.Quote(s.holder) + `]] = "num"`
	default: // every holder: only what this driver has exported
		return "(" + startsWith(s.mark) + `) || ([:typeof [:find $rdsA ` + routeros.Quote(separator+stateHeld) + `]] = "num")`
	}
}

// replaceHolders changes ACL and record of an exported volume if its comment is still the
// one that was read: the nearest to a compare-and-set that the console has.
func replaceHolders(slot, oldComment, newComment, acl string) routeros.Body {
	return func(put routeros.Put) string {
		return join(
			":local rdsF [/disk find where slot="+routeros.Quote(slot)+" type=file nvme-tcp-export=yes comment="+routeros.Quote(oldComment)+"]",
			count(put, "n", "rdsF"),
			":if ([:len $rdsF] = 1) do={/disk set $rdsF comment="+routeros.Quote(newComment)+" nvme-tcp-server-allow-host-name="+routeros.Quote(acl)+"}",
			rowOf(put, slot),
		)
	}
}

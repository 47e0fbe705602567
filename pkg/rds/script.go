package rds

import (
	"strconv"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
)

// The console text of every command stands in this file and its neighbours publish_script.go and
// change_script.go. Variables are called rds…, since a variable with a property's name
// compares with itself in a where clause (facts/routeros.md §4.2).

const asJSON = "[:serialize to=json options=json.no-string-conversion value="

// listed are the properties that make a Volume.
const listed = "slot,size,type,file-path,comment,nvme-tcp-export,nvme-tcp-server-nqn,nvme-tcp-server-allow-host-name"

// join makes one line of console text: with semicolons, a failing statement ends the line.
func join(statements ...string) string { return strings.Join(statements, "; ") }

// rowOf prints the item in a slot. An absent item prints an empty list.
func rowOf(put routeros.Put, slot string) string {
	return put("row", asJSON+"[/disk print detail as-value where slot="+routeros.Quote(slot)+"]]")
}

func rowsOf(put routeros.Put, key, properties string) string {
	return ":foreach rdsR in=[/disk print detail as-value proplist=" + properties + " where type=file] do={" +
		put(key, asJSON+"$rdsR]") + "}"
}

func findSlot(slot string) string {
	return ":local rdsD [/disk find where slot=" + routeros.Quote(slot) + "]"
}

func count(put routeros.Put, key, variable string) string { return put(key, "[:len $"+variable+"]") }

// readComment leaves in rdsC what stands before the separator in the comment of the items in variable.
func readComment(variable string) string {
	return join(
		":local rdsC [:tostr [/disk get $"+variable+" comment]]",
		":local rdsP [:find $rdsC "+routeros.Quote(separator)+"]",
		`:if ([:typeof $rdsP] = "num") do={:set rdsC [:pick $rdsC 0 $rdsP]}`,
	)
}

// startsWith is a condition on rdsC.
func startsWith(prefix string) string {
	return "[:pick $rdsC 0 " + strconv.Itoa(len(prefix)) + "] = " + routeros.Quote(prefix)
}

// Texts the scripts raise themselves; they come back as the reply's error.
const (
	errOtherCluster = "rds-csi: the disk belongs to another cluster"
	errNotOurs      = "rds-csi: the disk bears no mark of this driver and cluster"
	errFileGone     = "rds-csi: the backing file is gone"
	errLeftover     = "rds-csi: a file of this volume is there without its disk"
)

func raise(text string) string { return ":error " + routeros.Quote(text) }

package rds

import (
	"strconv"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
)

// The console text of every command stands in this file and in *_script.go. Variables are
// called rds…, since a variable with a property's name compares with itself in a where
// clause (facts/routeros.md §4.2).

const asJSON = "[:serialize to=json options=json.no-string-conversion value="

// listed are the properties that make a Volume.
const listed = "slot,size,type,file-path,comment,nvme-tcp-export,nvme-tcp-server-nqn,nvme-tcp-server-allow-host-name"

// join makes one line of console text: with semicolons, a failing statement ends the line.
func join(statements ...string) string { return strings.Join(statements, "; ") }

func when(condition string, statements ...string) string {
	return ":if (" + condition + ") do={" + join(statements...) + "}"
}

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

// fileDisk is the where clause for the volume in a slot.
func fileDisk(slot, more string) string {
	return "[/disk find where slot=" + routeros.Quote(slot) + " type=file" + more + "]"
}

func one(variable string) string { return "[:len $" + variable + "] = 1" }

// readComment takes the comment of the item in variable apart: rdsC is what stands before the
// separator, rdsS the separator and the state behind it, "" where there is none.
func readComment(variable string) string {
	return join(
		":local rdsC [:tostr [/disk get $"+variable+" comment]]",
		`:local rdsS ""`,
		":local rdsP [:find $rdsC "+routeros.Quote(separator)+"]",
		when(`[:typeof $rdsP] = "num"`, ":set rdsS [:pick $rdsC $rdsP [:len $rdsC]]", ":set rdsC [:pick $rdsC 0 $rdsP]"),
	)
}

// readPath leaves in rdsG the file of the item in variable, without a leading slash, as /file names it.
func readPath(variable string) string {
	return join(
		":local rdsG [:tostr [/disk get $"+variable+" file-path]]",
		when(`[:pick $rdsG 0 1] = "/"`, ":set rdsG [:pick $rdsG 1 [:len $rdsG]]"),
	)
}

// Conditions on what readComment and readPath have left.

func startsWith(prefix string) string {
	return "[:pick $rdsC 0 " + strconv.Itoa(len(prefix)) + "] = " + routeros.Quote(prefix)
}

func otherCluster(ours string) string {
	return "(" + startsWith(mark) + ") && !(" + startsWith(ours) + ")"
}

func stateHas(text string) string {
	return `[:typeof [:find $rdsS ` + routeros.Quote(text) + `]] = "num"`
}

// ownForm: slot and file are such as only the driver makes, whatever the comment says. A comment
// can be edited by hand; the fence must not go with it.
func ownForm(slot string) string {
	if !OwnSlot(slot) {
		return "false"
	}
	return `[:typeof [:find $rdsG ` + routeros.Quote(fileOf(slot)) + `]] = "num"`
}

func fileOf(slot string) string { return "/" + slot + "/" + diskFile }

// diskFile is the name of every volume's file, in a directory or subvolume of its own.
const diskFile = "disk.img"

// Texts the scripts raise themselves; they come back as the reply's error.
const (
	errOtherCluster = "rds-csi: the disk belongs to another cluster"
	errNotOurs      = "rds-csi: the disk bears no mark of this driver and cluster"
	errEdited       = "rds-csi: the disk's comment has lost the driver's mark"
	errFileGone     = "rds-csi: the backing file is gone"
	errFileUsed     = "rds-csi: another disk uses the file"
	errLeftover     = "rds-csi: a file of this volume is there without its disk"
)

func raise(text string) string { return ":error " + routeros.Quote(text) }

// fileMustExist stops where the backing file was removed behind our back, so that the
// array cannot make a new, empty one in its place.
func fileMustExist() string {
	return when("[:len [/file find where name=$rdsG]] = 0", raise(errFileGone))
}

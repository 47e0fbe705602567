package rds

import (
	"strconv"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
)

// removeScript removes item, then file and directory or subvolume, each step repeatable:
// `/disk remove` leaves the file (facts/routeros.md §0.4). A disk that is exported or held stays.
// It also tells what it takes to find a file that an earlier, interrupted call has left.
func removeScript(slot, clusterMark string) routeros.Body {
	return func(put routeros.Put) string {
		return join(
			findSlot(slot),
			when(one("rdsD"),
				readComment("rdsD"),
				mustBeOurs(clusterMark),
				readPath("rdsD"),
				when("!("+ownForm(slot)+")", raise(errNotOurs)),
				when("([:len "+fileDisk(slot, " nvme-tcp-export=no")+"] = 1) && !("+stateHas(separator+stateHeld)+")",
					put("cut", `"1"`), "/disk remove $rdsD", removeFile(slot, "$rdsG")),
			),
			rowOf(put, slot),
			":foreach rdsR in=[/file print as-value proplist=name where name~"+routeros.Quote(fileOf(slot)+"$")+"] do={"+put("file", asJSON+"$rdsR]")+"}",
			`:foreach rdsR in=[/disk print detail as-value proplist=mount-point where mount-point!=""] do={`+put("mount", asJSON+"$rdsR]")+"}",
		)
	}
}

// leftoverScript removes a file that is there without its disk.
func leftoverScript(slot, file string) routeros.Body {
	return func(put routeros.Put) string {
		return join(
			findSlot(slot),
			when("[:len $rdsD] = 0", removeFile(slot, routeros.Quote(file))),
			put("files", "[:len [/file find where name="+routeros.Quote(file)+"]]"),
		)
	}
}

// removeFile removes the one file of that exact name (an expression), then the directory or
// subvolume around it if nothing else is in it. Nothing is found by its ending: the same names
// may stand in a backup.
func removeFile(slot, name string) string {
	dir := "[:pick $rdsW 0 ([:len $rdsW] - " + strconv.Itoa(len("/"+diskFile)) + ")]"
	pool := "[:pick $rdsW 0 ([:len $rdsW] - " + strconv.Itoa(len("/"+slot)) + ")]"
	return join(
		":local rdsW "+name,
		when(`[:len [/disk find where file-path=("/" . $rdsW)]] > 0`, raise(errFileUsed)),
		"/file remove [/file find where name=$rdsW]",
		":set rdsW "+dir,
		when(`[:len [/file find where name~("^" . $rdsW . "/")]] = 0`,
			":local rdsB [/disk find where mount-point="+pool+" fs=btrfs]",
			when(one("rdsB"),
				":local rdsL [/disk get $rdsB fs-label]",
				"/disk/btrfs/subvolume remove [/disk/btrfs/subvolume find where fs=$rdsL name="+routeros.Quote(slot)+"]"),
			"/file remove [/file find where name=$rdsW type=directory]",
		),
	)
}

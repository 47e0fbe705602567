package rds

import (
	"strconv"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
)

// lookScript does nothing: every reply says which RouterOS it comes from.
func lookScript(routeros.Put) string { return ":local rdsN 0" }

func getScript(slot string) routeros.Body {
	return func(put routeros.Put) string { return rowOf(put, slot) }
}

func listScript(put routeros.Put) string { return rowsOf(put, "row", listed) }

// poolScript prints a pool's item and the size of every volume: what capacity is made of.
func poolScript(pool string) routeros.Body {
	return func(put routeros.Put) string {
		return join(
			put("pool", asJSON+"[/disk print detail as-value where mount-point="+routeros.Quote(pool)+"]]"),
			rowsOf(put, "vol", "slot,size,file-path"),
		)
	}
}

// prepareScript prints all that CreateVolume and expand must know first, in one exec.
func prepareScript(pool, slot string) routeros.Body {
	return func(put routeros.Put) string {
		return join(poolScript(pool)(put), rowOf(put, slot))
	}
}

type addScript struct {
	slot, pool, comment string
	btrfsLabel          string // "" where the pool is not Btrfs
	size                uint64
}

// body adds the directory or subvolume and the disk, unless the slot is taken. A file that
// is there without a disk is never adopted: it may hold somebody's data.
func (s addScript) body(put routeros.Put) string {
	dir := s.pool + "/" + s.slot
	file := dir + "/disk.img"
	return join(
		findSlot(s.slot),
		":if ([:len $rdsD] = 0) do={"+join(
			":if ([:len [/file find where name="+routeros.Quote(file)+"]] > 0) do={"+raise(errLeftover)+"}",
			s.makeDir(dir),
			"/disk add type=file slot="+routeros.Quote(s.slot)+" file-path="+routeros.Quote("/"+file)+
				" file-size="+strconv.FormatUint(s.size, 10)+" comment="+routeros.Quote(s.comment)+
				" mount-filesystem=no smb-sharing=no nfs-sharing=no media-sharing=no iscsi-export=no nvme-tcp-export=no",
		)+"}",
		rowOf(put, s.slot),
	)
}

// makeDir: a subvolume of its own is what makes snapshots of one volume possible (design.md §3).
func (s addScript) makeDir(dir string) string {
	if s.btrfsLabel == "" {
		return ":if ([:len [/file find where name=" + routeros.Quote(dir) + "]] = 0) do={/file add name=" + routeros.Quote(dir) + " type=directory}"
	}
	named := " fs=" + routeros.Quote(s.btrfsLabel) + " name=" + routeros.Quote(s.slot)
	return ":if ([:len [/disk/btrfs/subvolume find where" + named + "]] = 0) do={/disk/btrfs/subvolume add" + named + "}"
}

// growScript never shrinks, and only grows what bears our mark.
func growScript(slot, clusterMark string, size uint64) routeros.Body {
	bytes := strconv.FormatUint(size, 10)
	return func(put routeros.Put) string {
		return join(
			findSlot(slot),
			":if ([:len $rdsD] = 1) do={"+join(
				readComment("rdsD"),
				mustBeOurs(clusterMark),
				fileMustExist("rdsD"),
				":if ([/disk get $rdsD size] < "+bytes+") do={/disk set $rdsD file-size="+bytes+"}",
			)+"}",
			rowOf(put, slot),
		)
	}
}

func mustBeOurs(clusterMark string) string {
	return ":if (!(" + startsWith(clusterMark) + ")) do={" + raise(errNotOurs) + "}"
}

// removeScript removes item, then file and directory or subvolume, each step repeatable:
// `/disk remove` leaves the file (facts/routeros.md §0.4). An exported disk stays.
func removeScript(slot, clusterMark string) routeros.Body {
	return func(put routeros.Put) string {
		return join(
			findSlot(slot),
			":if ([:len $rdsD] = 1) do={"+join(
				readComment("rdsD"),
				mustBeOurs(clusterMark),
				":if ([:len [/disk find where slot="+routeros.Quote(slot)+" nvme-tcp-export=no]] = 1) do={"+put("cut", `"1"`)+"; /disk remove $rdsD}",
			)+"}",
			":if ([:len [/disk find where slot="+routeros.Quote(slot)+"]] = 0) do={"+removeFiles(put, slot)+"}",
			rowOf(put, slot),
			put("files", "[:len ["+filesOf(slot)+"]]"),
		)
	}
}

func removeFiles(put routeros.Put, slot string) string {
	each := func(find, remove string) string {
		return ":foreach rdsG in=[" + find + "] do={" + put("cut", `"1"`) + "; " + remove + " $rdsG}"
	}
	return join(
		each("/disk/btrfs/subvolume find where name="+routeros.Quote(slot), "/disk/btrfs/subvolume remove"),
		each(filesOf(slot), "/file remove"),
		each("/file find where name~"+routeros.Quote("/"+slot+"$")+" type=directory", "/file remove"),
	)
}

// filesOf finds the backing file of a slot in any pool. The slot is hexadecimal (OwnSlot),
// so it is safe in an expression.
func filesOf(slot string) string {
	return "/file find where name~" + routeros.Quote("/"+slot+"/disk[.]img$")
}

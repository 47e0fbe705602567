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

// file is the volume's file as /file names it.
func (s addScript) file() string { return s.pool + fileOf(s.slot) }

func (s addScript) dir() string { return s.pool + "/" + s.slot }

// body adds the directory or subvolume and the disk, unless the slot is taken. A file that
// is there without a disk is never adopted: it may hold somebody's data. "made" and "added" tell how
// far this exec came, so that no more than that is undone.
func (s addScript) body(put routeros.Put) string {
	free := "[:len [/disk find where slot=" + routeros.Quote(s.slot) + "]] = 0" // asked again: another controller may have been faster
	return join(
		when(free, ":if ([:len [/file find where name="+routeros.Quote(s.file())+"]] > 0) do={"+when(free, raise(errLeftover))+"} else={"+join(
			put("made", `"1"`),
			s.makeDir(),
			"/disk add type=file slot="+routeros.Quote(s.slot)+" file-path="+routeros.Quote("/"+s.file())+
				" file-size="+strconv.FormatUint(s.size, 10)+" comment="+routeros.Quote(s.comment)+
				" mount-filesystem=no smb-sharing=no nfs-sharing=no media-sharing=no iscsi-export=no nvme-tcp-export=no",
			put("added", `"1"`),
		)+"}"),
		rowOf(put, s.slot),
	)
}

// makeDir: a subvolume of its own is what makes snapshots of one volume possible (design.md §3).
func (s addScript) makeDir() string {
	if s.btrfsLabel == "" {
		name := routeros.Quote(s.dir())
		return when("[:len [/file find where name="+name+"]] = 0", "/file add name="+name+" type=directory")
	}
	named := " fs=" + routeros.Quote(s.btrfsLabel) + " name=" + routeros.Quote(s.slot)
	return when("[:len [/disk/btrfs/subvolume find where"+named+"]] = 0", "/disk/btrfs/subvolume add"+named)
}

// undo takes back what body has made: its own disk if it added one, then, while no disk is in the slot,
// the file, and the directory if nothing else is in it. A disk that another controller has added
// under the same name looks the same, comment and all.
func (s addScript) undo(added bool) routeros.Body {
	return func(put routeros.Put) string {
		remove := ":local rdsN 0"
		if added {
			remove = "/disk remove " + fileDisk(s.slot, " nvme-tcp-export=no comment="+routeros.Quote(s.comment))
		}
		return join(
			remove,
			when("[:len [/disk find where slot="+routeros.Quote(s.slot)+"]] = 0", removeFile(s.slot, routeros.Quote(s.file()))),
			put("disks", "[:len [/disk find where slot="+routeros.Quote(s.slot)+"]]"),
			put("files", "[:len [/file find where name="+routeros.Quote(s.file())+"]]"),
		)
	}
}

// growScript never shrinks, and only grows what bears our mark.
func growScript(slot, clusterMark string, size uint64) routeros.Body {
	bytes := strconv.FormatUint(size, 10)
	return func(put routeros.Put) string {
		return join(
			findSlot(slot),
			when(one("rdsD"),
				readComment("rdsD"),
				mustBeOurs(clusterMark),
				readPath("rdsD"),
				fileMustExist(),
				when("[/disk get $rdsD size] < "+bytes, "/disk set $rdsD file-size="+bytes),
			),
			rowOf(put, slot),
		)
	}
}

func mustBeOurs(clusterMark string) string {
	return when("!("+startsWith(clusterMark)+")", raise(errNotOurs))
}

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
	return func(put routeros.Put) string { return join(poolItem(put, pool), sizesOf(put)) }
}

func poolItem(put routeros.Put, pool string) string {
	return put("pool", asJSON+"[/disk print detail as-value where mount-point="+routeros.Quote(pool)+"]]")
}

func sizesOf(put routeros.Put, each ...string) string {
	return rowsOf(put, "vol", "slot,size,file-path", each...)
}

// promisedScript is poolScript with the growth that is announced. That costs a walk through /file, so what
// is asked every minute does without.
func promisedScript(pool string) routeros.Body {
	return func(put routeros.Put) string { return join(poolScript(pool)(put), growthsOf(put, pool)) }
}

func growthsOf(put routeros.Put, pool string, each ...string) string {
	return forEach("/file print as-value proplist=name where name~"+routeros.Quote(announcedIn(pool)), put("grow", asJSON+"$rdsR]"), each...)
}

// prepareScript prints all that CreateVolume must know first, in one exec.
func prepareScript(pool, slot string) routeros.Body {
	return func(put routeros.Put) string {
		return join(promisedScript(pool)(put), rowOf(put, slot))
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
func (s addScript) body(put routeros.Put) string { return join(s.add(put), rowOf(put, s.slot)) }

func (s addScript) add(put routeros.Put) string {
	free := "[:len [/disk find where slot=" + routeros.Quote(s.slot) + "]] = 0" // asked again: another controller may have been faster
	return when(free, ":if ([:len [/file find where name="+routeros.Quote(s.file())+"]] > 0) do={"+when(free, raise(errLeftover))+"} else={"+join(
		put("made", `"1"`),
		s.makeDir(),
		"/disk add type=file slot="+routeros.Quote(s.slot)+" file-path="+routeros.Quote("/"+s.file())+
			" file-size="+strconv.FormatUint(s.size, 10)+" comment="+routeros.Quote(s.comment)+
			" mount-filesystem=no smb-sharing=no nfs-sharing=no media-sharing=no iscsi-export=no nvme-tcp-export=no",
		put("added", `"1"`),
	)+"}")
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

func mustBeOurs(clusterMark string) string {
	return when("!("+startsWith(clusterMark)+")", raise(errNotOurs))
}

package rds

import (
	"strconv"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
)

// scratchListed is listed, and what else tells how the array shows a disk.
const scratchListed = listed + ",file-size,mount-filesystem,nvme-tcp-server-port"

func (s *Scratch) add(size uint64) addScript {
	script := addScript{slot: s.slot, pool: s.pool.MountPoint, size: size, comment: s.comment}
	if s.pool.FS == "btrfs" {
		script.btrfsLabel = s.pool.Label
	}
	return script
}

func (s *Scratch) dir() string { return s.pool.MountPoint + "/" + s.slot }

func (s *Scratch) file() string { return s.pool.MountPoint + fileOf(s.slot) }

// secondFile is that of the disk that Duplicate adds.
func (s *Scratch) secondFile() string { return s.dir() + "/second.img" }

// find is by the slot, which nobody else had when the volume was begun.
func (s *Scratch) find() string { return fileDisk(s.slot, "") }

// findFile is by the file's path, in case that the array has made another slot of ours.
func (s *Scratch) findFile(file string) string {
	return "[/disk find where type=file file-path=" + routeros.Quote("/"+file) + "]"
}

func (s *Scratch) seenScript(put routeros.Put) string {
	return join(
		put("scratch", asJSON+"[/disk print detail as-value proplist="+scratchListed+" where type=file slot="+routeros.Quote(s.slot)+"]]"),
		put("files", count(s.file())),
		put("pool", asJSON+"[/disk print detail as-value proplist=slot,free where mount-point="+routeros.Quote(s.pool.MountPoint)+"]]"),
	)
}

// disks counts what removeScript removes, each once: what is in the slot, and what has a file of ours in another slot.
func (s *Scratch) disks() string {
	slot := routeros.Quote(s.slot)
	elsewhere := func(file string) string {
		return "[:len [/disk find where file-path=" + routeros.Quote("/"+file) + " slot!=" + slot + "]]"
	}
	return "([:len [/disk find where slot=" + slot + "]] + " + elsewhere(s.file()) + " + " + elsewhere(s.secondFile()) + ")"
}

func (s *Scratch) leftScript(put routeros.Put) string {
	return join(
		":local rdsM "+s.disks(),
		put("disks", "$rdsM"),
		":local rdsN ("+count(s.dir())+" + "+count(s.file())+" + "+count(s.secondFile())+")",
		put("files", "$rdsN"),
	)
}

func count(file string) string { return "[:len [/file find where name=" + routeros.Quote(file) + "]]" }

func (s *Scratch) duplicateScript(size uint64) routeros.Body {
	return func(routeros.Put) string {
		return "/disk add type=file slot=" + routeros.Quote(s.slot) + " file-path=" + routeros.Quote("/"+s.secondFile()) +
			" file-size=" + strconv.FormatUint(size, 10) + " comment=" + routeros.Quote(s.comment) +
			" mount-filesystem=no smb-sharing=no nfs-sharing=no media-sharing=no iscsi-export=no nvme-tcp-export=no"
	}
}

// exportScript is the driver's own set of a publish.
func (s *Scratch) exportScript(token, acl string) routeros.Body {
	return func(routeros.Put) string {
		export := exportScript{slot: s.slot, nqn: NQN(s.slot, token), host: acl, held: stateFree, port: s.array.port}
		return join(":local rdsC "+routeros.Quote(s.comment), export.set(true))
	}
}

func (s *Scratch) setScript(properties string) routeros.Body {
	return func(routeros.Put) string { return "/disk set " + s.find() + " " + properties }
}

func (s *Scratch) growScript(size uint64) routeros.Body {
	return s.setScript("file-size=" + strconv.FormatUint(size, 10))
}

// removeScript takes an export down first: an array may refuse to remove what is exported.
func (s *Scratch) removeScript(put routeros.Put) string {
	second := routeros.Quote(s.secondFile())
	return join(
		":local rdsD "+s.find(),
		when("[:len $rdsD] > 0", "/disk set $rdsD nvme-tcp-export=no", "/disk remove $rdsD"),
		":local rdsE "+s.findFile(s.secondFile()),
		when("[:len $rdsE] > 0", "/disk remove $rdsE"),
		":local rdsF "+s.findFile(s.file()),
		when("[:len $rdsF] > 0", "/disk set $rdsF nvme-tcp-export=no", "/disk remove $rdsF"),
		"/file remove [/file find where name="+second+"]",
		removeFile(s.slot, routeros.Quote(s.file())),
		s.leftScript(put),
	)
}

package rdssim

import (
	"fmt"
	"strconv"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim/script"
)

// disk is one /disk item: a pool or a file disk.
type disk struct {
	ID   int               `json:"id"`
	Slot string            `json:"slot"`
	Type string            `json:"type"` // raid or file
	Set  map[string]string `json:"set"`  // what the console has set, in canonical form

	// Of a file disk.
	File string `json:"file,omitempty"` // name of the backing file, no leading slash
	Size uint64 `json:"size,omitempty"` // bytes
	UUID string `json:"uuid,omitempty"` // of the NVMe namespace

	// Of a pool.
	FS     string `json:"fs,omitempty"`
	FSUUID string `json:"fs_uuid,omitempty"`

	// encoded is the item as the state file has it, nil after a change.
	encoded []byte
}

func (d *disk) label() string { return d.Slot + "-fs" }

// exported reports whether the console shows the disk as exported.
func (d *disk) exported() bool { return d.Set["nvme-tcp-export"] == "yes" }

// clone copies a disk, so that a command that fails half way leaves no trace.
func (d *disk) clone() *disk {
	c := *d
	c.Set = make(map[string]string, len(d.Set))
	for k, v := range d.Set {
		c.Set[k] = v
	}
	c.encoded = nil
	return &c
}

// diskProperties are in the order of "print detail" on a real array (facts
// §1.4).
var diskProperties = []property{
	{"comment", styleText}, {"type", styleWord}, {"slot", styleText}, {"slot-default", styleText},
	{"parent", styleText}, {"fs-label", styleText}, {"fs-uuid", styleText}, {"fs", styleWord},
	{"model", styleText}, {"size", styleGrouped}, {"free", styleGrouped},
	{"total-inodes", styleGrouped}, {"free-inodes", styleGrouped}, {"use", styleWord},
	{"mount-point", styleText}, {"mount-filesystem", styleBool}, {"mount-read-only", styleBool},
	{"compress", styleBool}, {"sector-size", styleWord}, {"raid-type", styleWord},
	{"raid-device-count", styleWord}, {"raid-max-component-size", styleWord},
	{"raid-chunk-size", styleWord}, {"raid-master", styleWord}, {"state", styleText},
	{"raid-uuid", styleText}, {"nvme-tcp-export", styleBool}, {"nvme-tcp-server-port", styleWord},
	{"nvme-tcp-server-nqn", styleText}, {"nvme-tcp-server-allow-host-name", styleText},
	{"iscsi-export", styleBool}, {"nfs-sharing", styleBool}, {"smb-sharing", styleBool},
	{"media-sharing", styleBool}, {"media-interface", styleWord}, {"swap", styleBool},
	{"file-path", styleWord}, {"file-size", styleRounded}, {"file-offset", styleWord},
}

var diskFlags = []flag{
	{letter: 'X', name: "disabled"}, {letter: 'B', name: "block-device"}, {letter: 'M', name: "mounted"},
	{letter: 't', name: "nvme-tcp-export"}, {letter: 'i', name: "iscsi-export"},
	{letter: 's', name: "smb-sharing"}, {letter: 'n', name: "nfs-sharing"}, {letter: 'm', name: "media-sharing"},
}

var diskBrief = []string{"slot", "mount-point", "model", "interface", "size", "fs"}

// diskDefaults are the settable properties of every disk.
var diskDefaults = map[string]string{
	"comment": "", "disabled": "no", "parent": "", "mount-filesystem": "yes", "mount-read-only": "no",
	"compress": "no", "raid-master": "none", "nvme-tcp-export": "no", "iscsi-export": "no",
	"nfs-sharing": "no", "smb-sharing": "no", "media-sharing": "no", "media-interface": "none", "swap": "no",
	"nvme-tcp-server-port": "4420", "nvme-tcp-server-nqn": "", "nvme-tcp-server-allow-host-name": "",
	"mount-point-template": "[slot]", "file-offset": "0",
}

// diskRow is a disk as the console shows it.
type diskRow struct {
	*disk
	array *Array
}

func (r diskRow) id() script.ID { return itemID(r.ID) }

func itemID(n int) script.ID {
	return script.ID("*" + strings.ToUpper(strconv.FormatInt(int64(n), 16)))
}

func (r diskRow) value(name string) script.Value {
	switch name {
	case "type":
		return r.Type
	case "slot":
		return r.Slot
	case "slot-default":
		return ""
	case "sector-size":
		return int64(512)
	case "block-device":
		return true
	case "mounted":
		return r.Type != "file"
	case "nvme-tcp-server-port", "nvme-tcp-server-nqn", "nvme-tcp-server-allow-host-name":
		return r.serverValue(name)
	}
	if r.Type == "file" {
		if v, ok := r.fileValue(name); ok {
			return v
		}
	} else if v, ok := r.poolValue(name); ok {
		return v
	}
	return r.setting(name)
}

// serverValue: the keys of the NVMe target exist only while it is exported.
func (r diskRow) serverValue(name string) script.Value {
	if !r.exported() {
		return nil
	}
	if name == "nvme-tcp-server-nqn" {
		return r.array.nqn(r.disk)
	}
	return r.setting(name)
}

// setting gives what the console has set its type.
func (r diskRow) setting(name string) script.Value {
	if _, known := diskDefaults[name]; !known || name == "file-offset" || name == "mount-point-template" {
		return nil
	}
	text, ok := r.Set[name]
	if !ok {
		text = diskDefaults[name]
	}
	if _, boolean := script.Bool(diskDefaults[name]); boolean {
		return text == "yes"
	}
	if name == "nvme-tcp-server-port" {
		n, _ := strconv.ParseInt(text, 10, 64)
		return n
	}
	return text
}

func (r diskRow) fileValue(name string) (script.Value, bool) {
	switch name {
	case "fs":
		return "-", true
	case "file-path":
		if r.array.opts.differs(BarePaths) {
			return r.File, true
		}
		return "/" + r.File, true
	case "model":
		return "/" + r.File, true
	case "size", "file-size":
		return r.array.opts.sizeShown(r.Size), true
	case "file-offset":
		n, _ := strconv.ParseInt(orDefault(r.Set[name], "0"), 10, 64)
		return n, true
	}
	return nil, false
}

func (r diskRow) poolValue(name string) (script.Value, bool) {
	used := func() uint64 { return r.array.files.used(r.Slot) }
	switch name {
	case "fs":
		return r.FS, true
	case "fs-label":
		return r.label(), true
	case "fs-uuid", "raid-uuid":
		return r.FSUUID, true
	case "model":
		return "RAID0 striped", true
	case "size":
		return int64(r.Size), true
	case "free":
		return int64(r.Size - min(r.Size, used())), true
	case "use":
		return fmt.Sprintf("%d%%", min(used(), r.Size)*100/r.Size), true
	case "mount-point":
		return r.Slot, true
	case "total-inodes", "free-inodes":
		return r.inodes(), true
	case "raid-type":
		return "0", true
	case "raid-device-count":
		return int64(4), true
	case "raid-max-component-size":
		return "none", true
	case "raid-chunk-size":
		return "256K", true
	case "state":
		return "clean", true
	}
	return nil, false
}

// inodes: Btrfs has no fixed number of them.
func (r diskRow) inodes() script.Value {
	if r.FS == "btrfs" {
		return nil
	}
	return int64(r.Size >> 14)
}

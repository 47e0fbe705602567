package rdssim

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim/script"
)

// maxSlot is the longest slot of a file disk (facts §0.7: seen on 7.24.4).
const maxSlot = 32

// errNoSpace: the real array's words are not known (assumed).
const errNoSpace = "failure: not enough space on disk"

// diskTypes are the values of type= on an array with rose-storage.
var diskTypes = []string{"raid", "nvme-tcp", "iscsi", "nfs", "smb", "partition", "tmpfs", "ramdisk",
	"crypted", "sshfs", "file", "hardware"}

func (a *Array) diskRows() []row {
	rows := make([]row, len(a.disks))
	for i, d := range a.disks {
		rows[i] = diskRow{disk: d, array: a}
	}
	return rows
}

// diskTable has the properties of the release.
func (a *Array) diskTable() *table {
	offered := slices.DeleteFunc(slices.Clone(diskProperties), func(p property) bool { return !a.offers(p.name) })
	return &table{path: "/disk", properties: offered, flags: diskFlags, brief: diskBrief, key: "slot", rows: a.diskRows}
}

// diskAdd makes a file disk: the item, and its backing file where there is
// none yet.
func (a *Array) diskAdd(call *script.Call) (script.Value, error) {
	kind, given := call.Args["type"]
	switch text := script.Text(kind); {
	case !given:
		return nil, script.Errorf("missing value(s) of argument(s) type")
	case !slices.Contains(diskTypes, text):
		return nil, script.Errorf("input does not match any value of type")
	case text != "file":
		return nil, script.Errorf("failure: the simulated array makes only file disks")
	}
	d := &disk{Type: "file", Set: map[string]string{}, UUID: uuid.NewString()}
	if err := a.placeFile(d, call); err != nil {
		return nil, err
	}
	if err := a.apply(d, call, nil); err != nil {
		return nil, err
	}
	if d.Slot == "" {
		d.Slot = "file-" + strings.ReplaceAll(d.File, "/", "-")
	}
	if err := a.checkDisk(d); err != nil {
		return nil, err
	}
	existed := a.files.nodes[d.File] != nil
	if err := a.allocate(d.File, d.Size); err != nil {
		return nil, err
	}
	if err := a.publish(nil, d); err != nil {
		if !existed {
			err = errors.Join(err, a.files.remove(d.File))
		}
		return nil, err
	}
	d.ID = a.takeID()
	a.disks = append(a.disks, d)
	return itemID(d.ID), nil
}

// placeFile decides the backing file and the size: those of an existing file
// where no size is asked.
func (a *Array) placeFile(d *disk, call *script.Call) error {
	path, given := call.Args["file-path"]
	if !given {
		return script.Errorf("missing value(s) of argument(s) file-path")
	}
	name, ok := cleanName(script.Text(path))
	if !ok {
		return script.Errorf("invalid value for argument file-path")
	}
	d.File = name
	size := script.Text(call.Args["file-size"])
	if size != "" && size != "auto" {
		d.Size, ok = a.opts.sizeAsked(size)
		if !ok || d.Size == 0 {
			return script.Errorf("invalid value for argument file-size")
		}
		return nil
	}
	n := a.files.nodes[name]
	if n == nil || n.dir {
		return script.Errorf("failure: file-size must be set for a new file")
	}
	d.Size = n.size
	return nil
}

// checkDisk refuses what clashes with other items.
func (a *Array) checkDisk(d *disk) error {
	for _, other := range a.disks {
		if other.ID == d.ID {
			continue
		}
		if other.Slot == d.Slot && !a.opts.differs(SharesSlots) || d.File != "" && other.File == d.File {
			return script.Errorf("failure: already have such entry")
		}
		if d.exported() && other.exported() && a.nqn(other) == a.nqn(d) && a.port(other) == a.port(d) {
			return script.Errorf("failure: nvme-tcp-server-nqn already in use") // assumed
		}
	}
	return nil
}

// allocate makes the backing file, or grows it, within the pool's free space.
// A file that is there with another size is not touched (assumed).
func (a *Array) allocate(name string, size uint64) error {
	parent := name[:max(strings.LastIndexByte(name, '/'), 0)]
	if dir := a.files.nodes[parent]; dir == nil || !dir.dir {
		return script.Errorf("failure: directory %s does not exist", "/"+parent)
	}
	if err := a.writable(name); err != nil {
		return err
	}
	if n := a.files.nodes[name]; n != nil {
		if n.dir || n.size != size {
			return script.Errorf("failure: file already exists with another size")
		}
		return nil
	}
	if err := a.reserve(poolOf(name), size); err != nil {
		return err
	}
	if err := a.files.makeFile(name, size); err != nil {
		return script.Errorf("failure: %v", err)
	}
	return nil
}

// reserve checks that a pool has room.
func (a *Array) reserve(pool string, size uint64) error {
	p := a.bySlot(pool)
	if p == nil {
		return script.Errorf("failure: /%s is not mounted", pool)
	}
	if a.diskFull || size > p.Size-min(p.Size, a.files.used(pool)) {
		return script.Errorf(errNoSpace)
	}
	return nil
}

// diskSet changes items one after the other.
func (a *Array) diskSet(call *script.Call) (script.Value, error) {
	rows, err := a.tables["/disk"].named(call, "numbers")
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		before := r.(diskRow).disk
		after := before.clone()
		if err := a.apply(after, call, before); err != nil {
			return nil, err
		}
		if err := a.checkDisk(after); err != nil {
			return nil, err
		}
		if err := a.grow(before, after); err != nil {
			return nil, err
		}
		if err := a.publish(before, after); err != nil {
			return nil, err
		}
		a.disks[slices.Index(a.disks, before)] = after
	}
	return nil, nil
}

// grow follows a larger file-size. Shrinking would cut data off (assumed).
func (a *Array) grow(before, after *disk) error {
	if after.Size == before.Size {
		return nil
	}
	n := a.files.nodes[after.File]
	switch {
	case after.exported() && a.opts.differs(NoExportedGrow):
		return script.Errorf("could not unmount, stop using it first")
	case n == nil:
		return script.Errorf("failure: could not open /%s", after.File)
	case after.Size < before.Size:
		return script.Errorf("failure: file-size can not be made smaller")
	}
	if err := a.reserve(poolOf(after.File), after.Size-before.Size); err != nil {
		return err
	}
	if err := a.files.resize(n, after.Size); err != nil {
		return script.Errorf("failure: %v", err)
	}
	return nil
}

// diskRemove forgets items. The backing files stay.
func (a *Array) diskRemove(call *script.Call) (script.Value, error) {
	rows, err := a.tables["/disk"].named(call, "numbers")
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		d := r.(diskRow).disk
		if d.Type != "file" || a.opts.StrictRemove && d.exported() {
			return nil, script.Errorf("could not unmount, stop using it first")
		}
	}
	for _, r := range rows {
		d := r.(diskRow).disk
		if err := a.publish(d, nil); err != nil {
			return nil, err
		}
		a.disks = slices.DeleteFunc(a.disks, func(x *disk) bool { return x == d })
	}
	return nil, nil
}

// diskMonitor is "monitor-traffic … once". Nothing measures the host's I/O, so
// the rates are zero.
func (a *Array) diskMonitor(call *script.Call) (script.Value, error) {
	rows, err := a.tables["/disk"].named(call, "numbers")
	if err != nil {
		return nil, err
	}
	if !call.Flag("once") {
		return nil, script.Errorf("failure: the simulated array monitors only once")
	}
	for _, r := range rows {
		call.Print(aligned(rightAligned([][2]string{{"slot", script.Text(r.value("slot"))}, {"read-ops-per-second", "0"}, {"read-bytes", "0"},
			{"read-rate", "0bps"}, {"read-time", "0ms"}, {"write-ops-per-second", "0"}, {"write-bytes", "0"},
			{"write-rate", "0bps"}, {"write-time", "0ms"}, {"in-flight-ops", "0"}, {"active-time", "0ms"}})))
	}
	return nil, nil
}

// aligned is a single object for humans: names right-aligned, lines padded to
// one width, a blank line at the end.
func aligned(pairs [][2]string) string {
	names, lines := make([]string, len(pairs)), make([]string, len(pairs))
	for i, p := range pairs {
		names[i] = p[0]
	}
	for i, name := range padRightAligned(names) {
		lines[i] = name + ": " + pairs[i][1]
	}
	return strings.Join(padColumn(lines, false), eol) + eol + eol
}

// rightAligned pads values at their left, as monitors do.
func rightAligned(pairs [][2]string) [][2]string {
	values := make([]string, len(pairs))
	for i, p := range pairs {
		values[i] = p[1]
	}
	for i, v := range padColumn(values, true) {
		pairs[i][1] = v
	}
	return pairs
}

// padRightAligned indents by two more than the longest name needs.
func padRightAligned(names []string) []string {
	out := padColumn(names, true)
	for i := range out {
		out[i] = "  " + out[i]
	}
	return out
}

func (a *Array) port(d *disk) int {
	n, _ := strconv.Atoi(orDefault(d.Set["nvme-tcp-server-port"], diskDefaults["nvme-tcp-server-port"]))
	return n
}

// nqn is under what name a disk is exported: before 7.21 its bare slot, from
// then on what is set; the default is assumed from the documented one of iSCSI.
func (a *Array) nqn(d *disk) string {
	if !a.version.atLeast(7, 21) {
		return d.Slot
	}
	return orDefault(d.Set["nvme-tcp-server-nqn"], "nqn.2000-02.com.mikrotik:"+d.Slot)
}

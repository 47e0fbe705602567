package rdssim

import (
	"slices"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim/script"
)

// rootVolume is the name of a Btrfs file system's own root.
const rootVolume = "<FS_ROOT>"

type subvolRow struct {
	subvol
	array *Array
}

func (r subvolRow) id() script.ID { return itemID(r.ID) }

func (r subvolRow) value(name string) script.Value {
	pool, rest, nested := strings.Cut(r.Name, "/")
	switch name {
	case "fs":
		return pool + "-fs"
	case "name", "fullname":
		if !nested {
			return rootVolume
		}
		return rest
	case "parent":
		_, parent, _ := strings.Cut(r.Parent, "/")
		return parent
	case "read-only":
		return r.ReadOnly
	case "snapshot":
		return r.Parent != ""
	case "default":
		return !nested
	case "path":
		return "/" + r.Name
	}
	return nil
}

func (a *Array) subvolumeTable() *table {
	return &table{
		path: "/disk/btrfs/subvolume",
		properties: []property{{"fs", styleWord}, {"name", styleText}, {"parent", styleText}, {"read-only", styleBool},
			{"fullname", styleText}, {"path", styleText}},
		flags: []flag{{letter: '*', name: "default"}, {letter: 'S', name: "snapshot"}, {letter: 'r', name: "read-only"}},
		brief: []string{"fs", "name", "parent"},
		key:   "name",
		rows:  a.subvolumeRows,
	}
}

func (a *Array) subvolumeRows() []row {
	var rows []row
	for _, d := range a.disks {
		if d.FS == "btrfs" {
			rows = append(rows, subvolRow{subvol{ID: d.ID, Name: d.Slot}, a})
		}
	}
	for _, s := range a.header.Subvolumes {
		rows = append(rows, subvolRow{s, a})
	}
	return rows
}

// subvolumeAdd makes an empty subvolume, or with parent= a snapshot of one.
func (a *Array) subvolumeAdd(call *script.Call) (script.Value, error) {
	pool, err := a.byLabel(call)
	if err != nil {
		return nil, err
	}
	sub, err := a.newSubvolume(pool, call)
	if err != nil {
		return nil, err
	}
	if sub.Parent != "" {
		err = a.files.snapshot(sub.Parent, sub.Name)
	} else {
		_, err = a.files.makeDir(sub.Name, true)
	}
	if err != nil {
		return nil, script.Errorf("failure: %v", err)
	}
	sub.ID = a.takeID()
	a.header.Subvolumes = append(a.header.Subvolumes, sub)
	a.markNodes()
	return itemID(sub.ID), nil
}

// byLabel: fs= takes the label of the file system, not the slot of its disk.
func (a *Array) byLabel(call *script.Call) (*disk, error) {
	label, given := call.Args["fs"]
	if !given {
		return nil, script.Errorf("missing value(s) of argument(s) fs")
	}
	for _, d := range a.disks {
		if d.FS == "btrfs" && d.label() == script.Text(label) {
			return d, nil
		}
	}
	return nil, script.Errorf("input does not match any value of fs")
}

func (a *Array) newSubvolume(pool *disk, call *script.Call) (subvol, error) {
	name, ok := cleanName(script.Text(call.Args["name"]))
	if !ok {
		return subvol{}, script.Errorf("invalid value for argument name")
	}
	sub := subvol{Name: pool.Slot + "/" + name}
	if a.files.nodes[sub.Name] != nil {
		return sub, script.Errorf("failure: already have such entry")
	}
	if err := a.checkParent(sub.Name); err != nil {
		return sub, err
	}
	if parent := script.Text(call.Args["parent"]); parent != "" {
		sub.Parent = pool.Slot + "/" + strings.TrimPrefix(parent, "/")
		if n := a.files.nodes[sub.Parent]; n == nil || !n.volume {
			return sub, script.Errorf("input does not match any value of parent")
		}
	}
	return sub, applyReadOnly(&sub, call)
}

func applyReadOnly(s *subvol, call *script.Call) error {
	given, ok := call.Args["read-only"]
	if !ok {
		return nil
	}
	value, ok := script.Bool(script.Text(given))
	if !ok {
		return script.Errorf("input does not match any value of read-only")
	}
	s.ReadOnly = value
	return nil
}

// subvolumeSet changes read-only; renaming and mounting are not simulated.
func (a *Array) subvolumeSet(call *script.Call) (script.Value, error) {
	rows, err := a.tables["/disk/btrfs/subvolume"].named(call, "numbers")
	if err != nil {
		return nil, err
	}
	for name := range call.Args {
		if name != "numbers" && name != "read-only" {
			return nil, script.Errorf("failure: the simulated array does not know argument %s", name)
		}
	}
	for _, r := range rows {
		i := a.subvolumeIndex(r)
		if i < 0 {
			return nil, script.Errorf(errInUse)
		}
		if err := applyReadOnly(&a.header.Subvolumes[i], call); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (a *Array) subvolumeIndex(r row) int {
	return slices.IndexFunc(a.header.Subvolumes, func(s subvol) bool { return itemID(s.ID) == r.id() })
}

// subvolumeRemove deletes subvolumes with all in them.
func (a *Array) subvolumeRemove(call *script.Call) (script.Value, error) {
	rows, err := a.tables["/disk/btrfs/subvolume"].named(call, "numbers")
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if err := a.removeTree(r.(subvolRow).Name); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// filesystemRow is a Btrfs file system; it shares its number with the disk.
type filesystemRow struct{ *disk }

func (r filesystemRow) id() script.ID { return itemID(r.ID) }

func (r filesystemRow) value(name string) script.Value {
	switch name {
	case "label":
		return r.label()
	case "uuid":
		return r.FSUUID
	case "default-subvolume":
		return rootVolume
	case "total-devs":
		return int64(1)
	case "devs":
		return r.Slot
	case "write-errors", "read-errors", "flush-errors", "corruption-errors", "generation-errors":
		return int64(0)
	}
	return nil
}

func (a *Array) filesystemTable() *table {
	return &table{
		path: "/disk/btrfs/filesystem",
		properties: []property{{"label", styleText}, {"default-subvolume", styleText}, {"uuid", styleText},
			{"total-devs", styleWord}, {"devs", styleWord}, {"write-errors", styleWord}, {"read-errors", styleWord},
			{"flush-errors", styleWord}, {"corruption-errors", styleWord}, {"generation-errors", styleWord}},
		brief: []string{"label", "default-subvolume", "uuid", "total-devs", "devs"},
		key:   "label",
		rows: func() []row {
			var rows []row
			for _, d := range a.disks {
				if d.FS == "btrfs" {
					rows = append(rows, filesystemRow{d})
				}
			}
			return rows
		},
	}
}

package rdssim

import (
	"path"
	"slices"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim/script"
)

// errInUse: whether the real array refuses this is not known (assumed).
const errInUse = "failure: file in use"

type fileRow struct {
	*node
	files *files
}

func (r fileRow) id() script.ID { return itemID(r.node.id) }

func (r fileRow) value(name string) script.Value {
	switch name {
	case "name":
		return r.name
	case "type":
		return r.kind()
	case "size":
		if r.dir {
			return nil
		}
		return int64(r.size)
	case "last-modified", "creation-time":
		return r.files.modified(r.name).UTC().Format("2006-01-02 15:04:05")
	}
	return nil
}

// kind: a pool's root is a disk, x.img is an ".img file", a name without an
// extension a "file".
func (r fileRow) kind() string {
	switch ext := path.Ext(r.name); {
	case r.dir && !strings.Contains(r.name, "/"):
		return "disk"
	case r.dir:
		return "directory"
	case ext != "":
		return ext + " file"
	}
	return "file"
}

func (a *Array) fileTable() *table {
	stamp := "last-modified"
	if !a.version.atLeast(7, 16) {
		stamp = "creation-time"
	}
	return &table{
		path:       "/file",
		properties: []property{{"name", styleWord}, {"type", styleWord}, {"size", styleRounded}, {stamp, styleWord}},
		brief:      []string{"name", "type", "size", stamp},
		key:        "name",
		rows:       a.fileRows,
	}
}

func (a *Array) fileRows() []row {
	rows := make([]row, len(a.files.names))
	for i, name := range a.files.names {
		rows[i] = fileRow{node: a.files.nodes[name], files: a.files}
	}
	return rows
}

// fileAdd makes a directory, or a small file with contents.
func (a *Array) fileAdd(call *script.Call) (script.Value, error) {
	given, ok := call.Args["name"]
	if !ok {
		return nil, script.Errorf("missing value(s) of argument(s) name")
	}
	name, ok := cleanName(script.Text(given))
	if !ok {
		return nil, script.Errorf("invalid value for argument name")
	}
	kind := orDefault(script.Text(call.Args["type"]), "file")
	if !slices.Contains([]string{"file", "directory"}, kind) {
		return nil, script.Errorf("input does not match any value of type")
	}
	if a.files.nodes[name] != nil {
		return nil, script.Errorf("failure: file already exists") // assumed
	}
	if err := a.checkParent(name); err != nil {
		return nil, err
	}
	if kind == "directory" {
		if _, err := a.files.makeDir(name, false); err != nil {
			return nil, script.Errorf("failure: %v", err)
		}
		return itemID(a.files.nodes[name].id), nil
	}
	text := script.Text(call.Args["contents"])
	if err := a.reserve(poolOf(name), uint64(len(text))); err != nil {
		return nil, err
	}
	if err := a.files.writeText(name, text); err != nil {
		return nil, script.Errorf("failure: %v", err)
	}
	return itemID(a.files.nodes[name].id), nil
}

func (a *Array) checkParent(name string) error {
	parent := a.files.nodes[path.Dir(name)]
	if parent == nil || !parent.dir {
		return script.Errorf("failure: directory %s does not exist", path.Dir(name)) // assumed
	}
	return a.writable(name)
}

// writable refuses what lies in a read-only subvolume.
func (a *Array) writable(name string) error {
	for _, s := range a.header.Subvolumes {
		if s.ReadOnly && strings.HasPrefix(name, s.Name+"/") {
			return script.Errorf("failure: read-only file system") // assumed
		}
	}
	return nil
}

// fileRemove deletes files and directories with all in them. A file that
// backs a disk stays.
func (a *Array) fileRemove(call *script.Call) (script.Value, error) {
	rows, err := a.tables["/file"].named(call, "numbers")
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		name := r.(fileRow).name
		if err := a.writable(name); err != nil {
			return nil, err
		}
		if err := a.removeTree(name); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (a *Array) removeTree(name string) error {
	if !strings.Contains(name, "/") || a.byFile(name) != nil {
		return script.Errorf(errInUse)
	}
	if err := a.files.remove(name); err != nil {
		return script.Errorf("failure: %v", err)
	}
	a.markNodes()
	return nil
}

package rdssim

import (
	"maps"
	"slices"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim/script"
)

// settingDefaults are those of /disk/settings. That new disks are shared is what an array may be set to
// (facts/routeros.md §1.4); the simulator shares nothing either way.
var settingDefaults = map[string]string{"auto-media-sharing": "yes", "auto-smb-sharing": "yes"}

func (a *Array) diskSettings() *script.List {
	values := &script.List{}
	for _, name := range slices.Sorted(maps.Keys(settingDefaults)) {
		on, _ := script.Bool(orDefault(a.header.Settings[name], settingDefaults[name]))
		values.Put(name, on)
	}
	return values
}

func (a *Array) settingsPrint(call *script.Call) (script.Value, error) {
	values, lines := a.diskSettings(), [][2]string{}
	for _, e := range values.Entries {
		lines = append(lines, [2]string{e.Key, yesNo(e.Value == true)})
	}
	return printObject(call, values, lines), nil
}

func yesNo(on bool) string {
	if on {
		return "yes"
	}
	return "no"
}

func (a *Array) settingsGet(call *script.Call) (script.Value, error) {
	return getObject(call, a.diskSettings())
}

func (a *Array) settingsSet(call *script.Call) (script.Value, error) {
	changed := map[string]string{}
	for name, value := range call.Args {
		if _, known := settingDefaults[name]; !known {
			return nil, script.Errorf("failure: the simulated array does not know argument %s", name)
		}
		on, ok := script.Bool(script.Text(value))
		if !ok {
			return nil, script.Errorf("input does not match any value of %s", name)
		}
		changed[name] = yesNo(on)
	}
	if a.header.Settings == nil {
		a.header.Settings = map[string]string{}
	}
	maps.Copy(a.header.Settings, changed)
	return nil, nil
}

// installed is an item of /system/package.
type installed struct {
	number  int
	name    string
	version string
}

func (p installed) id() script.ID { return itemID(p.number) }

func (p installed) value(name string) script.Value {
	switch name {
	case "name":
		return p.name
	case "version":
		return p.version
	}
	return nil
}

const rosePackage = "rose-storage"

func (a *Array) packageTable() *table {
	return &table{path: "/system/package", properties: []property{{"name", styleText}, {"version", styleText}},
		brief: []string{"name", "version"}, key: "name", rows: a.packageRows}
}

func (a *Array) packageRows() []row {
	rows := []row{installed{1, "routeros", a.version.text}}
	if !a.opts.differs(NoRose) {
		rows = append(rows, installed{2, rosePackage, a.version.text})
	}
	return rows
}

// roseOnly tells what of the console comes with the package rose-storage (facts/routeros.md §1.2, §2).
func roseOnly(path string) bool {
	return strings.HasPrefix(path, "/disk/btrfs") || strings.HasPrefix(path, "/disk/nvme-discover") ||
		strings.HasPrefix(path[strings.LastIndexByte(path, '/')+1:], "nvme-tcp-")
}

package rdssim

import (
	"slices"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim/script"
)

// style is how a property reads in tables for humans.
type style int

const (
	styleText    style = iota // "quoted"
	styleWord                 // as it is
	styleBool                 // yes, no
	styleGrouped              // 53 687 091 200
	styleRounded              // 50.0GiB
)

// property is a column of a menu.
type property struct {
	name  string
	style style
}

// flag is a property that tables show as a letter.
type flag struct {
	letter byte
	name   string
}

// row is one item of a menu.
type row interface {
	id() script.ID
	// value is a property in its machine form, nil when the item has none.
	value(property string) script.Value
}

// table is a menu that lists items.
type table struct {
	path       string
	properties []property // in the order of "print detail"
	flags      []flag
	brief      []string // columns of "print"
	key        string   // the property that names an item
	rows       func() []row
}

func (t *table) has(name string) bool {
	return name == ".id" || t.property(name) >= 0 ||
		slices.ContainsFunc(t.flags, func(f flag) bool { return f.name == name })
}

func (t *table) property(name string) int {
	return slices.IndexFunc(t.properties, func(p property) bool { return p.name == name })
}

// selected are the rows that "where" lets through.
func (t *table) selected(where *script.Filter) ([]row, error) {
	var out []row
	for _, r := range t.rows() {
		ok, err := where.Match(func(name string) (script.Value, bool) {
			if !t.has(name) {
				return nil, false
			}
			return lookup(r, name), true
		})
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, r)
		}
	}
	return out, nil
}

func lookup(r row, name string) script.Value {
	if name == ".id" {
		return r.id()
	}
	return r.value(name)
}

// find returns ids.
func (t *table) find(call *script.Call) (script.Value, error) {
	rows, err := t.selected(call.Where)
	if err != nil {
		return nil, err
	}
	ids := &script.List{}
	for _, r := range rows {
		ids.Append(r.id())
	}
	return ids, nil
}

// get returns one property of one item, or all of them.
func (t *table) get(call *script.Call) (script.Value, error) {
	rows, err := t.named(call, "number")
	if err != nil {
		return nil, err
	}
	if len(rows) != 1 {
		return nil, script.Errorf("no such item")
	}
	return getFrom(t.all(rows[0], t.columns(nil)), t.has, rows[0], call)
}

func getFrom(all *script.List, has func(string) bool, r row, call *script.Call) (script.Value, error) {
	name, given := call.Args["value-name"]
	if !given {
		return all, nil
	}
	property := script.Text(name)
	if !has(property) {
		return nil, script.Errorf("input does not match any value of value-name")
	}
	return lookup(r, property), nil
}

// named resolves ids or names given as an argument. An empty list is no error:
// "remove [find …]" that finds nothing does nothing.
func (t *table) named(call *script.Call, argument string) ([]row, error) {
	given, ok := call.Args[argument]
	if !ok {
		return nil, script.Errorf("missing value(s) of argument(s) %s", argument)
	}
	rows := t.rows()
	var found []row
	for _, ref := range references(given) {
		i := slices.IndexFunc(rows, func(r row) bool {
			return string(r.id()) == ref || script.Text(r.value(t.key)) == ref
		})
		if i < 0 {
			return nil, script.Errorf("no such item")
		}
		found = append(found, rows[i])
	}
	return found, nil
}

// references are the ids or names in a value: a list, or text with commas.
func references(v script.Value) []string {
	if l, ok := v.(*script.List); ok {
		var refs []string
		for _, e := range l.Entries {
			refs = append(refs, references(e.Value)...)
		}
		return refs
	}
	text := script.Text(v)
	if text == "" {
		return nil
	}
	return splitComma(text)
}

// columns are the properties of a proplist, in its order, or all of them.
func (t *table) columns(proplist []string) []string {
	if proplist != nil {
		return proplist
	}
	names := make([]string, 0, len(t.properties)+len(t.flags))
	for _, p := range t.properties {
		names = append(names, p.name)
	}
	for _, f := range t.flags {
		if t.property(f.name) < 0 {
			names = append(names, f.name)
		}
	}
	return names
}

// all is a row in as-value: .id first, properties without a value left out.
func (t *table) all(r row, columns []string) *script.List {
	l := &script.List{}
	l.Put(".id", r.id())
	for _, name := range columns {
		if v := r.value(name); v != nil && !(name == "comment" && v == "") {
			l.Put(name, v)
		}
	}
	return l
}

// proplist reads the argument; a name the menu does not have is an error.
func (t *table) proplist(call *script.Call) ([]string, error) {
	given, ok := call.Args["proplist"]
	if !ok {
		return nil, nil
	}
	names := references(given)
	for _, name := range names {
		if !t.has(name) {
			return nil, script.Errorf("input does not match any value of proplist")
		}
	}
	return names, nil
}

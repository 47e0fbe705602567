package script

import (
	"context"
	"slices"
	"strings"
	"testing"
)

// fakeConsole has one menu of two items.
type fakeConsole struct {
	minor int // release 7.minor
	calls []string
}

var fakeRows = []map[string]Value{
	{"slot": "a", "size": int64(10), "mounted": true, "comment": ""},
	{"slot": "b-2", "size": int64(20), "mounted": false, "comment": "x y"},
}

func (*fakeConsole) Kind(path string) Kind {
	switch path {
	case "/disk", "/disk/sub":
		return Menu
	case "/disk/find", "/disk/add", "/disk/remove", "/disk/print", "/disk/get", "/disk/sub/print", "/disk/fail":
		return Command
	}
	return None
}

func (*fakeConsole) HasArgument(command, argument string) bool {
	arguments := map[string][]string{
		"/disk/find": {"where"}, "/disk/print": {"where", "detail", "as-value"}, "/disk/add": {"slot", "size"},
		"/disk/remove": {"numbers"}, "/disk/get": {"number", "value-name"},
	}
	return slices.Contains(arguments[command], argument)
}

func (*fakeConsole) HasProperty(menu, name string) bool {
	return menu == "/disk" && slices.Contains([]string{"slot", "size", "mounted", "comment"}, name)
}

func (c *fakeConsole) AtLeast(major, minor int) bool {
	return major < 7 || major == 7 && c.minor >= minor
}

func (c *fakeConsole) Run(_ context.Context, call *Call) (Value, error) {
	c.calls = append(c.calls, call.Menu+"/"+call.Verb)
	found := &List{}
	for i, row := range fakeRows {
		ok, err := call.Where.Match(func(name string) (Value, bool) {
			v, ok := row[name]
			return v, ok
		})
		if err != nil {
			return nil, err
		}
		if ok {
			found.Append(ID("*" + string(rune('1'+i))))
		}
	}
	switch call.Verb {
	case "find":
		return found, nil
	case "add":
		return ID("*2B"), nil
	case "get":
		return fakeRows[0][Text(call.Args["value-name"])], nil
	case "print":
		rows := NewList()
		for _, row := range fakeRows {
			r := &List{}
			r.Put("slot", row["slot"])
			rows.Append(r)
		}
		return rows, nil
	case "fail":
		return nil, Errorf("failure: no")
	}
	return nil, nil
}

// evaluate runs a line and returns what it prints, errors as the console
// prints them.
func evaluate(t testing.TB, c *fakeConsole, line string) string {
	t.Helper()
	var out strings.Builder
	s, err := Parse(line, c)
	if err == nil {
		err = s.Run(t.Context(), c, func(text string) { out.WriteString(text) })
	}
	if err != nil {
		out.WriteString(err.Error() + "\r\n")
	}
	return strings.TrimSuffix(strings.ReplaceAll(out.String(), "\r\n", "\n"), "\n")
}

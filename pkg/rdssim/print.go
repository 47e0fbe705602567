package rdssim

import (
	"strconv"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim/script"
)

const eol = "\r\n"

// wrapColumn is where long lines of "print detail" break without a terminal.
const wrapColumn = 80

// print is the command of that name in every one of its shapes.
func (t *table) print(call *script.Call) (script.Value, error) {
	rows, err := t.selected(call.Where)
	if err != nil {
		return nil, err
	}
	if _, given := call.Args["from"]; given {
		if rows, err = t.named(call, "from"); err != nil {
			return nil, err
		}
	}
	names, err := t.proplist(call)
	if err != nil {
		return nil, err
	}
	switch {
	case call.Flag("count-only"):
		// Printed even inside [ ], so ":put [… count-only]" prints it twice.
		call.Print(strconv.Itoa(len(rows)) + eol)
		return int64(len(rows)), nil
	case call.Flag("as-value"):
		return t.asValue(rows, t.machineColumns(call, names)), nil
	case call.Flag("terse"):
		call.Print(t.terse(rows, t.columns(names)))
	case call.Flag("detail"):
		call.Print(t.detail(rows, t.columns(names), call.Flag("show-ids")))
	default:
		call.Print(t.briefTable(rows, names, call.Flag("show-ids")))
	}
	return nil, nil
}

// machineColumns: without "detail", as-value has the columns of the brief
// table only (facts: plain as-value omits detail-only properties).
func (t *table) machineColumns(call *script.Call, proplist []string) []string {
	if proplist != nil || call.Flag("detail") {
		return t.columns(proplist)
	}
	return append([]string{"comment"}, t.brief...)
}

func (t *table) asValue(rows []row, columns []string) *script.List {
	out := &script.List{}
	for _, r := range rows {
		out.Append(t.all(r, columns))
	}
	return out
}

// shown are the flags any of the rows has: only these get a column.
func (t *table) shown(rows []row) []flag {
	var out []flag
	for _, f := range t.flags {
		for _, r := range rows {
			if r.value(f.name) == true {
				out = append(out, f)
				break
			}
		}
	}
	return out
}

func flagsHeader(shown []flag) string {
	if len(shown) == 0 {
		return ""
	}
	names := make([]string, len(shown))
	for i, f := range shown {
		names[i] = string(f.letter) + " - " + strings.ToUpper(f.name)
	}
	return "Flags: " + strings.Join(names, "; ") + eol
}

func letters(r row, shown []flag) string {
	out := make([]byte, len(shown))
	for i, f := range shown {
		out[i] = ' '
		if r.value(f.name) == true {
			out[i] = f.letter
		}
	}
	return string(out)
}

// detail is "print detail": key=value, records apart by a line of one space.
func (t *table) detail(rows []row, columns []string, ids bool) string {
	shown := t.shown(rows)
	var out strings.Builder
	out.WriteString(flagsHeader(shown))
	width := len(strconv.Itoa(max(len(rows)-1, 0)))
	for i, r := range rows {
		prefix := padLeft(number(i, r, ids), width) + " "
		if len(shown) > 0 {
			prefix += letters(r, shown) + " "
		}
		t.record(&out, prefix, r, columns)
		if i < len(rows)-1 {
			out.WriteString(" " + eol)
		}
	}
	return out.String()
}

func number(i int, r row, ids bool) string {
	if ids {
		return string(r.id())
	}
	return strconv.Itoa(i)
}

// record writes one item. A comment takes the line of the number.
func (t *table) record(out *strings.Builder, prefix string, r row, columns []string) {
	indent := strings.Repeat(" ", len(prefix))
	if comment := script.Text(r.value("comment")); comment != "" {
		out.WriteString(prefix + ";;; " + comment + eol)
		prefix = indent
	}
	wrap(out, prefix, indent, t.pairs(r, columns))
}

// pairs are name=value in human form; the comment and the flags are shown
// elsewhere.
func (t *table) pairs(r row, columns []string) []string {
	var out []string
	for _, name := range columns {
		i := t.property(name)
		v := r.value(name)
		if i < 0 || v == nil || name == "comment" {
			continue
		}
		out = append(out, name+"="+human(t.properties[i].style, v, true))
	}
	return out
}

// wrap breaks lines between words, and inside a word that fits on no line, as
// the console does.
func wrap(out *strings.Builder, prefix, indent string, words []string) {
	line := prefix
	for _, word := range words {
		for part := range strings.SplitSeq(word, " ") {
			if len(line)+len(part)+1 > wrapColumn && line != indent && line != prefix {
				out.WriteString(strings.TrimRight(line, " ") + eol)
				line = indent
			}
			for len(line)+len(part) > wrapColumn {
				cut := wrapColumn - len(line)
				out.WriteString(line + part[:cut] + eol)
				line, part = indent, part[cut:]
			}
			line += part + " "
		}
	}
	out.WriteString(strings.TrimRight(line, " ") + eol)
}

// terse is one line for each item.
func (t *table) terse(rows []row, columns []string) string {
	var out strings.Builder
	shown := t.shown(rows)
	for i, r := range rows {
		line := strconv.Itoa(i) + " " + letters(r, shown)
		if comment := script.Text(r.value("comment")); comment != "" {
			line += " comment=" + comment
		}
		out.WriteString(strings.Join(append([]string{line}, t.pairs(r, columns)...), " ") + eol)
	}
	return out.String()
}

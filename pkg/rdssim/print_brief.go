package rdssim

import (
	"fmt"
	"slices"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim/script"
)

// briefTable is plain "print": columns, those without any value dropped.
func (t *table) briefTable(rows []row, proplist []string, ids bool) string {
	shown := t.shown(rows)
	columns := t.briefColumns(rows, proplist)
	var out strings.Builder
	out.WriteString(flagsHeader(shown))
	if len(columns) == 0 {
		return out.String()
	}
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = strings.ToUpper(c.name)
	}
	out.WriteString("Columns: " + strings.Join(names, ", ") + eol)
	t.grid(&out, rows, shown, columns, ids)
	return out.String()
}

func (t *table) briefColumns(rows []row, proplist []string) []property {
	names := t.brief
	if proplist != nil {
		names = proplist
	}
	var out []property
	for _, name := range names {
		i := t.property(name)
		if i >= 0 && slices.ContainsFunc(rows, func(r row) bool { return t.cell(r, t.properties[i]) != "" }) {
			out = append(out, t.properties[i])
		}
	}
	return out
}

func (t *table) cell(r row, p property) string {
	v := r.value(p.name)
	if v == nil {
		return ""
	}
	shape := p.style
	if shape == styleRounded {
		shape = styleGrouped // tables group, only detail rounds
	}
	return human(shape, v, false)
}

// grid aligns numbers right and words left, two blanks between columns.
func (t *table) grid(out *strings.Builder, rows []row, shown []flag, columns []property, ids bool) {
	lead := make([]string, len(rows)+1)
	lead[0] = "#"
	for i, r := range rows {
		lead[i+1] = number(i, r, ids)
		if len(shown) > 0 {
			lead[i+1] = padRight(lead[i+1], len(number(len(rows)-1, r, ids))) + " " + letters(r, shown)
		}
	}
	lines := padColumn(lead, false)
	for _, c := range columns {
		cells := []string{strings.ToUpper(c.name)}
		for _, r := range rows {
			cells = append(cells, t.cell(r, c))
		}
		gap := "  "
		if c == columns[0] {
			gap = " "
		}
		for i, cell := range padColumn(cells, c.style == styleGrouped || c.style == styleRounded) {
			lines[i] += gap + cell
		}
	}
	for i, line := range lines {
		if i > 0 {
			if comment := script.Text(rows[i-1].value("comment")); comment != "" {
				out.WriteString(";;; " + comment + eol)
			}
		}
		out.WriteString(line + eol)
	}
}

func padColumn(cells []string, right bool) []string {
	width := 0
	for _, c := range cells {
		width = max(width, len(c))
	}
	out := make([]string, len(cells))
	for i, c := range cells {
		if right {
			out[i] = padLeft(c, width)
			continue
		}
		out[i] = padRight(c, width)
	}
	return out
}

func padLeft(s string, width int) string { return fmt.Sprintf("%*s", width, s) }

func padRight(s string, width int) string { return fmt.Sprintf("%-*s", width, s) }

package script

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// runSerialize is :serialize to=json. Keys are sorted. Unless told otherwise
// the console turns strings that look like numbers into numbers with six
// decimals, which is why clients pass json.no-string-conversion.
func runSerialize(f *frame, b *builtin) (Value, error) {
	to, err := b.named["to"].eval(f)
	if err != nil {
		return nil, err
	}
	if Text(to) != "json" {
		return nil, Errorf("input does not match any value of to")
	}
	v, err := b.either(f, "value")
	if err != nil {
		return nil, err
	}
	options, err := b.options(f)
	if err != nil {
		return nil, err
	}
	e := encoder{keepStrings: slices.Contains(options, "json.no-string-conversion")}
	e.encode(v)
	if !slices.Contains(options, "json.pretty") {
		return e.out.String(), nil
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, []byte(e.out.String()), "", "    "); err != nil {
		return nil, Errorf("cannot serialize: %v", err)
	}
	return pretty.String(), nil
}

func (b *builtin) options(f *frame) ([]string, error) {
	if b.named["options"] == nil {
		return nil, nil
	}
	v, err := b.named["options"].eval(f)
	if err != nil {
		return nil, err
	}
	list, ok := v.(*List)
	if !ok {
		return []string{Text(v)}, nil
	}
	var options []string
	for _, e := range list.Entries {
		options = append(options, Text(e.Value))
	}
	return options, nil
}

type encoder struct {
	out         strings.Builder
	keepStrings bool
}

func (e *encoder) encode(v Value) {
	switch v := v.(type) {
	case nil:
		e.out.WriteString("null")
	case int64, bool:
		e.out.WriteString(Text(v))
	case *List:
		e.list(v)
	default:
		e.text(Text(v))
	}
}

func (e *encoder) text(s string) {
	if !e.keepStrings {
		if n, err := strconv.ParseFloat(s, 64); err == nil {
			e.out.WriteString(strconv.FormatFloat(n, 'f', 6, 64))
			return
		}
	}
	e.quote(s)
}

// quote writes bytes as they are but for what JSON must escape: the console
// knows no encoding.
func (e *encoder) quote(s string) {
	e.out.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			e.out.WriteByte('\\')
			e.out.WriteByte(c)
		case c == '\n':
			e.out.WriteString(`\n`)
		case c == '\r':
			e.out.WriteString(`\r`)
		case c == '\t':
			e.out.WriteString(`\t`)
		case c < ' ':
			e.out.WriteString(`\u00`)
			e.out.WriteByte("0123456789abcdef"[c>>4])
			e.out.WriteByte("0123456789abcdef"[c&15])
		default:
			e.out.WriteByte(c)
		}
	}
	e.out.WriteByte('"')
}

// list writes an object where any element has a key.
func (e *encoder) list(l *List) {
	keyed := slices.ContainsFunc(l.Entries, func(x Entry) bool { return x.Keyed })
	open, end := byte('['), byte(']')
	entries := l.Entries
	if keyed {
		open, end = '{', '}'
		entries = slices.Clone(entries)
		slices.SortStableFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Key, b.Key) })
	}
	e.out.WriteByte(open)
	for i, entry := range entries {
		if i > 0 {
			e.out.WriteByte(',')
		}
		if keyed {
			e.quote(entry.Key)
			e.out.WriteByte(':')
		}
		e.encode(entry.Value)
	}
	e.out.WriteByte(end)
}

package script

import (
	"strconv"
	"strings"
)

func runLen(f *frame, b *builtin) (Value, error) {
	v, err := b.argument(f, 0)
	if l, ok := v.(*List); ok {
		return int64(len(l.Entries)), err
	}
	return int64(len(Text(v))), err
}

func runTypeof(f *frame, b *builtin) (Value, error) {
	v, err := b.argument(f, 0)
	return TypeName(v), err
}

func runTostr(f *frame, b *builtin) (Value, error) {
	v, err := b.argument(f, 0)
	return Text(v), err
}

// runTonum is nothing for what is not a number.
func runTonum(f *frame, b *builtin) (Value, error) {
	v, err := b.argument(f, 0)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseInt(Text(v), 10, 64)
	if err != nil {
		return nil, nil
	}
	return n, nil
}

// runToarray splits a string at commas.
func runToarray(f *frame, b *builtin) (Value, error) {
	v, err := b.argument(f, 0)
	if l, ok := v.(*List); ok || err != nil {
		return l, err
	}
	out := &List{}
	if text := Text(v); text != "" {
		for word := range strings.SplitSeq(text, ",") {
			out.Append(literal(word))
		}
	}
	return out, nil
}

// runPick takes the characters or elements from a start up to, not including,
// an end; without an end it takes one.
func runPick(f *frame, b *builtin) (Value, error) {
	v, err := b.argument(f, 0)
	if err != nil {
		return nil, err
	}
	list, isList := v.(*List)
	text := Text(v)
	length := int64(len(text))
	if isList {
		length = int64(len(list.Entries))
	}
	from, to, single, err := b.span(f, length)
	switch {
	case err != nil:
		return nil, err
	case isList && single && from < to:
		return list.Entries[from].Value, nil
	case isList:
		return &List{Entries: list.Entries[from:to]}, nil
	}
	return text[from:to], nil
}

// span reads :pick's bounds, cut to the length.
func (b *builtin) span(f *frame, length int64) (from, to int64, single bool, err error) {
	start, err := b.argument(f, 1)
	if err != nil {
		return 0, 0, false, err
	}
	from, ok := start.(int64)
	if !ok {
		return 0, 0, false, Errorf("invalid value for argument begin")
	}
	end, err := b.argument(f, 2)
	if err != nil {
		return 0, 0, false, err
	}
	to, ok = end.(int64)
	if !ok {
		to, single = from+1, true
	}
	from = min(max(from, 0), length)
	return from, min(max(to, from), length), single, nil
}

// runFind is the position of a value in a string or array, nothing when it is
// not there.
func runFind(f *frame, b *builtin) (Value, error) {
	var args [3]Value
	for i := range args {
		v, err := b.argument(f, i)
		if err != nil {
			return nil, err
		}
		args[i] = v
	}
	after, ok := args[2].(int64)
	if !ok {
		after = -1
	}
	if l, ok := args[0].(*List); ok {
		return l.indexOf(args[1], after), nil
	}
	text := Text(args[0])
	from := min(max(after+1, 0), int64(len(text)))
	if i := strings.Index(text[from:], Text(args[1])); i >= 0 {
		return from + int64(i), nil
	}
	return nil, nil
}

func (l *List) indexOf(v Value, after int64) Value {
	for i, e := range l.Entries {
		if int64(i) > after && equal(e.Value, v) {
			return int64(i)
		}
	}
	return nil
}

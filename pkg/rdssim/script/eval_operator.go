package script

import "strings"

func (u *unary) eval(f *frame) (Value, error) {
	v, err := u.operand.eval(f)
	if err != nil {
		return nil, err
	}
	if u.op == "!" {
		if f.lookup == nil {
			if b, ok := v.(bool); ok {
				return !b, nil
			}
			return nil, Errorf("cannot invert %s", TypeName(v))
		}
		return !truth(v), nil
	}
	n, ok := v.(int64)
	if !ok {
		return nil, Errorf("cannot negate %s", TypeName(v))
	}
	return -n, nil
}

func (b *binary) eval(f *frame) (Value, error) {
	left, err := b.left.eval(f)
	if err != nil {
		return nil, err
	}
	switch b.op {
	case "and", "&&", "or", "||":
		return b.logical(f, left)
	}
	right, err := b.right.eval(f)
	if err != nil {
		return nil, err
	}
	switch b.op {
	case "=":
		return same(f, left, right), nil
	case "!=":
		return !same(f, left, right), nil
	case "<", ">", "<=", ">=":
		return ordered(b.op, left, right)
	case "~":
		return f.in.regexMatch(Text(left), Text(right))
	case ".":
		return concat(left, right), nil
	case ",":
		return appended(left, right), nil
	}
	return arithmetic(b.op, left, right)
}

// logical short-circuits, so that the right side may fail unseen.
func (b *binary) logical(f *frame, left Value) (Value, error) {
	stop := b.op == "or" || b.op == "||"
	l, err := condition(f, left)
	if err != nil || l == stop {
		return l, err
	}
	right, err := b.right.eval(f)
	if err != nil {
		return nil, err
	}
	return condition(f, right)
}

// condition is strict outside "where".
func condition(f *frame, v Value) (bool, error) {
	if f.lookup != nil {
		return truth(v), nil
	}
	b, ok := v.(bool)
	if !ok {
		return false, Errorf("conditional not boolean")
	}
	return b, nil
}

func same(f *frame, a, b Value) bool {
	if f.lookup != nil {
		return matches(a, b)
	}
	return equal(a, b)
}

func ordered(op string, a, b Value) (Value, error) {
	var sign int
	switch x := a.(type) {
	case int64:
		y, ok := b.(int64)
		if !ok {
			return nil, incomparable(op, a, b)
		}
		sign = compareInts(x, y)
	case string:
		y, ok := b.(string)
		if !ok {
			return nil, incomparable(op, a, b)
		}
		sign = strings.Compare(x, y)
	default:
		return nil, incomparable(op, a, b)
	}
	switch op {
	case "<":
		return sign < 0, nil
	case ">":
		return sign > 0, nil
	case "<=":
		return sign <= 0, nil
	}
	return sign >= 0, nil
}

func compareInts(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func incomparable(op string, a, b Value) error {
	word := "more"
	if op[0] == '<' {
		word = "less"
	}
	return Errorf("cannot compare if %s is %s than %s", TypeName(a), word, TypeName(b))
}

// concat joins strings and distributes over arrays.
func concat(a, b Value) Value {
	if l, ok := a.(*List); ok {
		return l.mapped(func(v Value) Value { return concat(v, b) })
	}
	if l, ok := b.(*List); ok {
		return l.mapped(func(v Value) Value { return concat(a, v) })
	}
	return Text(a) + Text(b)
}

func (l *List) mapped(fn func(Value) Value) *List {
	out := &List{Entries: make([]Entry, len(l.Entries))}
	for i, e := range l.Entries {
		e.Value = fn(e.Value)
		out.Entries[i] = e
	}
	return out
}

// appended is the comma: it makes one array of both sides.
func appended(a, b Value) Value {
	out := &List{}
	for _, v := range []Value{a, b} {
		if l, ok := v.(*List); ok {
			out.Entries = append(out.Entries, l.Entries...)
			continue
		}
		out.Append(v)
	}
	return out
}

func arithmetic(op string, a, b Value) (Value, error) {
	x, okX := a.(int64)
	y, okY := b.(int64)
	if !okX || !okY {
		return nil, Errorf("cannot apply %s to %s and %s", op, TypeName(a), TypeName(b))
	}
	switch op {
	case "+":
		return x + y, nil
	case "-":
		return x - y, nil
	case "*":
		return x * y, nil
	}
	if y == 0 {
		return nil, Errorf("division by zero")
	}
	if op == "/" {
		return x / y, nil
	}
	return x % y, nil
}

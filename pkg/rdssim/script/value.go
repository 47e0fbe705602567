package script

import (
	"strconv"
	"strings"
)

// Value is a console value: nil (nothing), string, int64, bool, ID or *List.
type Value any

// ID is an item's internal number, as in "*2B".
type ID string

// List is a console array: ordered, with keys on some, all or none of its
// entries.
type List struct {
	Entries []Entry
}

// Entry is one element of a List. Keyed tells an element with an empty key
// from one that has none.
type Entry struct {
	Key   string
	Keyed bool
	Value Value
}

// NewList makes a list without keys.
func NewList(values ...Value) *List {
	l := &List{}
	for _, v := range values {
		l.Append(v)
	}
	return l
}

// Append adds an element without a key.
func (l *List) Append(v Value) {
	l.Entries = append(l.Entries, Entry{Value: v})
}

// Put adds or replaces an element with a key.
func (l *List) Put(key string, v Value) {
	for i := range l.Entries {
		if l.Entries[i].Keyed && l.Entries[i].Key == key {
			l.Entries[i].Value = v
			return
		}
	}
	l.Entries = append(l.Entries, Entry{Key: key, Keyed: true, Value: v})
}

// Get is the element a key or an index (counted over all entries) names; nil
// when there is none: a missing key is nothing, not an error.
func (l *List) Get(key Value) Value {
	if i, ok := key.(int64); ok {
		if i >= 0 && i < int64(len(l.Entries)) {
			return l.Entries[i].Value
		}
		return nil
	}
	name := Text(key)
	for _, e := range l.Entries {
		if e.Keyed && e.Key == name {
			return e.Value
		}
	}
	return nil
}

// Text is how a value reads when it is printed or joined to a string.
func Text(v Value) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case ID:
		return string(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case bool:
		return strconv.FormatBool(v)
	case *List:
		return v.text()
	}
	return ""
}

func (l *List) text() string {
	parts := make([]string, len(l.Entries))
	for i, e := range l.Entries {
		parts[i] = Text(e.Value)
		if e.Keyed {
			parts[i] = e.Key + "=" + parts[i]
		}
	}
	return strings.Join(parts, ";")
}

// TypeName is what :typeof answers.
func TypeName(v Value) string {
	switch v.(type) {
	case string:
		return "str"
	case ID:
		return "id"
	case int64:
		return "num"
	case bool:
		return "bool"
	case *List:
		return "array"
	}
	return "nothing"
}

// Bool reads a boolean as the console spells one.
func Bool(text string) (value, ok bool) {
	switch text {
	case "yes", "true":
		return true, true
	case "no", "false":
		return false, true
	}
	return false, false
}

// literal gives an unquoted word its type: number, id, boolean or string.
func literal(word string) Value {
	if n, err := strconv.ParseInt(word, 10, 64); err == nil && word[0] != '+' {
		return n
	}
	if isID(word) {
		return ID(word)
	}
	if b, ok := Bool(word); ok {
		return b
	}
	return word
}

func isID(word string) bool {
	if len(word) < 2 || word[0] != '*' {
		return false
	}
	_, err := strconv.ParseUint(word[1:], 16, 64)
	return err == nil
}

// equal compares without conversion, as expressions outside "where" do.
func equal(a, b Value) bool {
	la, okA := a.(*List)
	lb, okB := b.(*List)
	if okA && okB {
		return la.text() == lb.text()
	}
	if okA || okB {
		return false
	}
	return a == b
}

// matches compares a property with a value in "where", where the property's
// type decides how the value is read (nvme-tcp-export=no is a boolean).
func matches(a, b Value) bool {
	if a == nil || b == nil {
		return a == b
	}
	if ba, ok := a.(bool); ok {
		return ba == truth(b)
	}
	if bb, ok := b.(bool); ok {
		return bb == truth(a)
	}
	return Text(a) == Text(b)
}

// truth is a value's meaning as a condition of "where".
func truth(v Value) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		b, ok := Bool(v)
		return b || (!ok && v != "")
	}
	return true
}

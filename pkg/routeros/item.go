package routeros

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Item is one item of a RouterOS menu, as JSON shows it. What type a property comes as differs
// between releases, so the accessors take each form that has been seen (facts/routeros.md §4.2).
type Item map[string]json.RawMessage

func decodeItems(text string) ([]Item, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "" || text == `""` || text == "null":
		return nil, nil
	case text[0] == '{':
		var item Item
		if err := json.Unmarshal([]byte(text), &item); err != nil {
			return nil, notJSON(text, err)
		}
		return withoutEmpty([]Item{item}), nil
	default:
		var items []Item
		if err := json.Unmarshal([]byte(text), &items); err != nil {
			return nil, notJSON(text, err)
		}
		return withoutEmpty(items), nil
	}
}

func notJSON(text string, err error) error {
	return fmt.Errorf("no JSON objects in %q: %w", printable(text, strayWidth), err)
}

// withoutEmpty: how an empty match looks as JSON is not known (facts/routeros-scripts.md).
func withoutEmpty(items []Item) []Item {
	kept := items[:0]
	for _, item := range items {
		if len(item) > 0 {
			kept = append(kept, item)
		}
	}
	return kept
}

// Has tells whether the item has a value for key.
func (i Item) Has(key string) bool {
	raw, ok := i[key]
	return ok && string(raw) != "null"
}

// Types tells as what kind of JSON value each property comes: text, number, true or false, list, object, nothing.
func (i Item) Types() map[string]string {
	types := make(map[string]string, len(i))
	for key, raw := range i {
		types[key] = typeOf(raw)
	}
	return types
}

func typeOf(raw json.RawMessage) string {
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return "nothing"
	case raw[0] == '"':
		return "text"
	case raw[0] == '[':
		return "list"
	case raw[0] == '{':
		return "object"
	case raw[0] == 't' || raw[0] == 'f':
		return "true or false"
	default:
		return "number"
	}
}

// String is the property as text, "" if there is none. A list is joined with commas.
func (i Item) String(key string) string {
	if !i.Has(key) {
		return ""
	}
	return text(i[key])
}

func text(raw json.RawMessage) string {
	switch raw[0] {
	case '"':
		var s string
		if json.Unmarshal(raw, &s) == nil {
			return s
		}
	case '[':
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) == nil {
			parts := make([]string, len(list))
			for n, element := range list {
				parts[n] = text(element)
			}
			return strings.Join(parts, ",")
		}
	}
	return string(raw) // a number, true, false; an object stays JSON
}

// Bytes is the property as an exact number of bytes: a number or a numeric string, also in
// groups ("53 687 091 200") or with the zeros of a converted string ("123.000000"). Rounded
// sizes with a unit ("1024.0GiB") are an error: they are not exact.
func (i Item) Bytes(key string) (uint64, error) {
	if !i.Has(key) {
		return 0, fmt.Errorf("the array shows no %s", key)
	}
	s := strings.ReplaceAll(i.String(key), " ", "")
	whole, fraction, _ := strings.Cut(s, ".")
	n, err := strconv.ParseUint(whole, 10, 64)
	if err != nil || strings.Trim(fraction, "0") != "" {
		if errors.Is(err, strconv.ErrRange) {
			return 0, fmt.Errorf("%s is beyond 64 bits: %q", key, printable(s, strayWidth))
		}
		return 0, fmt.Errorf("%s is not a number of bytes: %q", key, printable(s, strayWidth))
	}
	return n, nil
}

// Bool tells whether the property is true or yes; an absent one is not.
func (i Item) Bool(key string) bool {
	switch i.String(key) {
	case "true", "yes":
		return true
	default:
		return false
	}
}

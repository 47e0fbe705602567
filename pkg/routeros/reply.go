package routeros

import (
	"strconv"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// Reply is what an exec printed.
type Reply struct {
	Version string // such as "7.24.4 (stable)"; "" if the array did not say
	Board   string

	values map[string][]string
}

// Value is what was last put under key. Line breaks are taken out, as they cannot be told from
// wrapping: text that may have some is put as JSON.
func (r *Reply) Value(key string) (string, bool) {
	values := r.values[key]
	if len(values) == 0 {
		return "", false
	}
	return values[len(values)-1], true
}

// Int is the number last put under key.
func (r *Reply) Int(key string) (int, error) {
	value, ok := r.Value(key)
	if !ok {
		return 0, fault.Errorf("read "+key, fault.Internal, "the array did not print it")
	}
	n, err := strconv.Atoi(strings.TrimSpace(value))
	if err != nil {
		return 0, fault.Errorf("read "+key, fault.Internal, "%q is not a whole number", printable(value, strayWidth))
	}
	return n, nil
}

// Rows are the items put under key as JSON, in the order in which they came: each value an
// array of objects or one object. Nothing put, or an empty value, is no items.
func (r *Reply) Rows(key string) ([]Item, error) {
	var rows []Item
	for _, value := range r.values[key] {
		items, err := decodeItems(value)
		if err != nil {
			return nil, fault.E("read "+key, fault.Internal, err)
		}
		rows = append(rows, items...)
	}
	return rows, nil
}

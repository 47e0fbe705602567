package routeros

import (
	"errors"
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

func TestItemTakesEveryForm(t *testing.T) {
	items, err := decodeItems(`[{"slot":"csi-1","size":53687091200,"file-size":"53 687 091 200","free":"123.000000",
		"big":18446744073709551615,"over":18446744073709551616,"rounded":"1024.0GiB","part":1.5,"negative":-1,
		"t":true,"y":"yes","ts":"true","f":false,"n":"no","none":null,"list":["a",2,true],"object":{"a":1}}]`)
	if err != nil || len(items) != 1 {
		t.Fatalf("%d items, %v", len(items), err)
	}
	item := items[0]
	for key, want := range map[string]string{
		"slot": "csi-1", "size": "53687091200", "t": "true", "none": "", "absent": "", "list": "a,2,true", "object": `{"a":1}`,
	} {
		if got := item.String(key); got != want {
			t.Errorf("String(%s) = %q, want %q", key, got, want)
		}
	}
	for key, want := range map[string]uint64{"size": 53687091200, "file-size": 53687091200, "free": 123, "big": 1<<64 - 1} {
		if got, err := item.Bytes(key); err != nil || got != want {
			t.Errorf("Bytes(%s) = %d, %v, want %d", key, got, err, want)
		}
	}
	for _, key := range []string{"slot", "over", "rounded", "part", "negative", "none", "absent", "list", "t"} {
		if got, err := item.Bytes(key); err == nil {
			t.Errorf("Bytes(%s) = %d, want an error", key, got)
		} else if !strings.Contains(err.Error(), key) {
			t.Errorf("Bytes(%s): the error does not name it: %v", key, err)
		}
	}
	for key, want := range map[string]bool{"t": true, "y": true, "ts": true, "f": false, "n": false, "none": false, "absent": false} {
		if got := item.Bool(key); got != want {
			t.Errorf("Bool(%s) = %t", key, got)
		}
	}
	if item.Has("none") || item.Has("absent") || !item.Has("f") {
		t.Error("Has is wrong about null, absent or false")
	}
}

func TestRows(t *testing.T) {
	tests := []struct {
		name   string
		values []string
		want   int
		fails  bool
	}{
		{"nothing put", nil, 0, false},
		{"empty forms", []string{"", `""`, "null", "[]", "{}", "[null]", "[{}]", " "}, 0, false},
		{"an array and an object", []string{`[{"a":1},{"a":2}]`, `{"a":3}`}, 3, false},
		{"half", []string{`[{"a":1},{"a"`}, 0, true},
		{"text", []string{"no such item"}, 0, true},
		{"a number", []string{"7"}, 0, true},
		{"an array of numbers", []string{"[7]"}, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rows, err := (&Reply{values: map[string][]string{"row": tt.values}}).Rows("row")
			if len(rows) != tt.want || (err != nil) != tt.fails {
				t.Fatalf("%d rows, %v", len(rows), err)
			}
			if err != nil && fault.KindOf(err) != fault.Internal {
				t.Errorf("kind %s", fault.KindOf(err))
			}
			for i, row := range rows {
				if n, err := row.Bytes("a"); err != nil || n != uint64(i+1) {
					t.Errorf("row %d has %d, %v", i, n, err)
				}
			}
		})
	}
}

func TestIntAndValue(t *testing.T) {
	r := &Reply{values: map[string][]string{"n": {"1", " 42 "}, "bad": {"4x"}}}
	if n, err := r.Int("n"); n != 42 || err != nil {
		t.Errorf("Int(n) = %d, %v: the last value counts", n, err)
	}
	for _, key := range []string{"bad", "absent"} {
		if _, err := r.Int(key); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("Int(%s): %v", key, err)
		}
	}
	if _, ok := r.Value("absent"); ok {
		t.Error("an absent key has a value")
	}
}

func FuzzDecodeItem(f *testing.F) {
	for _, s := range []string{
		"", "null", `""`, "{}", "[]", `[{"a":"b"}]`, `{"size":"1 2","b":[1,["x"]]}`, `[{"a":1}`, `{"a":1e3}`, `{"a":"\ud800"}`, `[[{}]]`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		items, err := decodeItems(s)
		if err != nil && items != nil {
			t.Fatal("items beside an error")
		}
		for _, item := range items {
			for key := range item {
				_ = item.Bool(key)
				n, err := item.Bytes(key)
				if err == nil && (!item.Has(key) || item.String(key) == "" && n != 0) {
					t.Fatalf("%d bytes from nothing", n)
				}
			}
		}
	})
}

func TestBytesErrorIsPlain(t *testing.T) {
	_, err := Item{"size": []byte(`"x` + strings.Repeat("y", 500) + `"`)}.Bytes("size")
	if err == nil || len(err.Error()) > 300 {
		t.Errorf("unbounded or no error: %v", err)
	}
	if errors.Unwrap(err) != nil {
		t.Error("the error of strconv repeats the text")
	}
}

// Package goldentest compares what tests make with files that people read, and writes those anew where
// UPDATE_GOLDEN is set (task golden).
package goldentest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// Compare wants the file at path to be got.
func Compare(t testing.TB, path, got string) {
	t.Helper()
	compare(t, path, got)
}

// Section wants the part of a page between the lines "<!-- generated: name -->" and "<!-- end -->" to be got.
func Section(t testing.TB, page, name, got string) {
	t.Helper()
	begin, end := "<!-- generated: "+name+" -->\n", "<!-- end -->"
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, found := strings.Cut(string(data), begin)
	_, tail, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no %q … %q", page, begin, end)
	}
	compare(t, page, head+begin+got+end+tail)
}

func compare(t testing.TB, path, got string) {
	t.Helper()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (task golden, or UPDATE_GOLDEN=1 go test, writes it):\n%s", path, Diff(string(want), got))
	}
}

// Diff shows the lines that only one of two texts has.
func Diff(want, got string) string {
	var out strings.Builder
	wants, gots := strings.Split(want, "\n"), strings.Split(got, "\n")
	only := func(sign string, these, others []string) {
		for _, line := range these {
			if !slices.Contains(others, line) {
				fmt.Fprintf(&out, "%s %s\n", sign, line)
			}
		}
	}
	only("-", wants, gots)
	only("+", gots, wants)
	if out.Len() == 0 {
		return "the same lines in another order or number"
	}
	return out.String()
}

package vm

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A pattern that names no test any more would let what it named run where it does not belong.
func TestPatternsNameTests(t *testing.T) {
	files, err := filepath.Glob("../guest/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`).FindAllStringSubmatch(string(text), -1) {
			names = append(names, match[1])
		}
	}
	for _, list := range []string{onlyInFull, onlyOnTheNewest, timed} {
		for pattern := range strings.SplitSeq(list, "|") {
			if !slices.ContainsFunc(names, regexp.MustCompile(pattern).MatchString) {
				t.Errorf("%q names none of %q", pattern, names)
			}
		}
	}
}

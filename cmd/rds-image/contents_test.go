package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// runs is how the driver's packages run a program, with the name of the program or the beginning of it.
var runs = regexp.MustCompile(`(?:tools|programs|runner)\.Run\(\w+, "([^"]+)"(\s*\+)?`)

// filesystems is the driver's list of file systems.
var filesystems = regexp.MustCompile(`func supportedFS\(\) \[\]string \{ return \[\]string\{(.*)\} \}`)

// executed are the programs that the driver's source names.
func executed(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, dir := range []string{"mount", "nvme", "driver", "host", "stage", "reconcile"} {
		for _, text := range sources(t, filepath.Join("../../pkg", dir)) {
			for _, m := range runs.FindAllStringSubmatch(text, -1) {
				if m[2] == "" {
					found = append(found, m[1])
					continue
				}
				for _, fsType := range supported(t) {
					found = append(found, m[1]+fsType)
				}
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func supported(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../pkg/driver/capability.go")
	if err != nil {
		t.Fatal(err)
	}
	m := filesystems.FindStringSubmatch(string(text))
	if m == nil {
		t.Fatal("the driver's list of file systems was not found")
	}
	return strings.Split(strings.ReplaceAll(m[1], `"`, ""), ", ")
}

// sources are the texts of a directory's Go files that are not tests.
func sources(t *testing.T, dir string) []string {
	t.Helper()
	var texts []string
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && strings.HasSuffix(name, "test"):
			return fs.SkipDir
		case !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(name)
		texts = append(texts, string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

func TestTheImageHasWhatTheDriverRuns(t *testing.T) {
	want := executed(t)
	if len(want) < 10 {
		t.Fatalf("found only %q in the driver's source: the search is broken", want)
	}
	if got := programs(); !slices.Equal(got, want) {
		t.Errorf("programs() has\n%q, the driver runs\n%q", got, want)
	}
}

package rdssim

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim/script"
)

//go:generate sh -c "./gen-console.sh \"$ROUTEROS_CONSOLE_TSV\" > console.tsv"

//go:embed console.tsv
var consoleTSV string

//go:embed console-more.tsv
var consoleMoreTSV string

// release is a RouterOS version; only major and minor gate the console.
type release struct {
	major, minor int
	text         string
}

const defaultVersion = "7.24.4"

// parseRelease reads "7.24" or "7.24.4".
func parseRelease(text string) (release, error) {
	r := release{text: text}
	parts := strings.Split(text, ".")
	if len(parts) < 2 || len(parts) > 3 {
		return r, fmt.Errorf("version %q: want MAJOR.MINOR[.PATCH], such as %s", text, defaultVersion)
	}
	numbers := make([]int, len(parts))
	for i, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 {
			return r, fmt.Errorf("version %q: want MAJOR.MINOR[.PATCH], such as %s", text, defaultVersion)
		}
		numbers[i] = n
	}
	r.major, r.minor = numbers[0], numbers[1]
	return r, nil
}

func (r release) atLeast(major, minor int) bool {
	return r.major > major || r.major == major && r.minor >= minor
}

// oldest and newest are the releases the tree was read from: "first" equal to
// the oldest means "or older", "last" equal to the newest "still there".
var (
	oldest = release{major: 7, minor: 9}
	newest = release{major: 7, minor: 24}
)

// tree is the console tree of one release.
type tree struct {
	kinds     map[string]script.Kind
	arguments map[string]map[string]bool // command path -> argument names
}

// newTree cuts the tree to a release, and to what there is without the package rose-storage.
func newTree(version release, rose bool) (*tree, error) {
	t := &tree{kinds: map[string]script.Kind{"/system": script.Menu}, arguments: map[string]map[string]bool{}}
	for line := range strings.Lines(consoleTSV + consoleMoreTSV) {
		line = strings.TrimSpace(line)
		path, _, _ := strings.Cut(line, "\t")
		if strings.HasPrefix(line, "#") || !rose && roseOnly(path) {
			continue
		}
		if err := t.add(line, version); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *tree) add(line string, version release) error {
	fields := strings.Split(line, "\t")
	if len(fields) != 4 {
		return fmt.Errorf("console tree: %q is not path, kind, first, last", line)
	}
	first, err := parseRelease(fields[2])
	if err != nil {
		return err
	}
	last, err := parseRelease(fields[3])
	if err != nil {
		return err
	}
	if !existed(version, first, last) {
		return nil
	}
	switch path := fields[0]; fields[1] {
	case "cmd":
		t.kinds[path] = script.Command
	case "arg":
		cut := strings.LastIndexByte(path, '/')
		t.argument(path[:cut], path[cut+1:])
	default:
		t.kinds[path] = script.Menu
	}
	return nil
}

func existed(version, first, last release) bool {
	since := first == (release{oldest.major, oldest.minor, first.text}) || version.atLeast(first.major, first.minor)
	until := last == (release{newest.major, newest.minor, last.text}) || last.atLeast(version.major, version.minor)
	return since && until
}

func (t *tree) argument(command, name string) {
	if t.arguments[command] == nil {
		t.arguments[command] = map[string]bool{}
	}
	t.arguments[command][name] = true
}

package house_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault/faulttest"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// pages are README.md and all below docs.
func pages(t *testing.T) []string {
	t.Helper()
	found := []string{"README.md"}
	err := filepath.WalkDir("docs", func(name string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(name, ".md") {
			found = append(found, name)
		}
		return err
	})
	if err != nil || len(found) < 10 {
		t.Fatalf("found %v: %v", found, err)
	}
	return found
}

func content(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	notSlug = regexp.MustCompile(`[^a-z0-9 _-]`)
	fenced  = regexp.MustCompile("(?ms)^```.*?^```$")
)

// anchors are what a page's headings can be linked by (as GitHub and Gitea make them).
func anchors(text string) []string {
	var list []string
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		list = append(list, strings.ReplaceAll(notSlug.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return list
}

func TestEveryLinkOfTheDocsLeadsSomewhere(t *testing.T) {
	for _, page := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(content(t, page), ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			target, anchor, _ := strings.Cut(m[1], "#")
			path := page
			if target != "" {
				path = filepath.Join(filepath.Dir(page), target)
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
			} else if anchor != "" && !slices.Contains(anchors(content(t, path)), anchor) {
				t.Errorf("%s links to %s: %s has no such heading", page, m[1], path)
			}
		}
	}
}

// runbookIndex leads to the runbooks, which are too many for README.md.
const runbookIndex = "docs/runbooks/README.md"

func TestREADMELeadsToEveryPage(t *testing.T) {
	for _, page := range pages(t)[1:] {
		from, target := "README.md", page
		if dir := filepath.Dir(runbookIndex); filepath.Dir(page) == dir && page != runbookIndex {
			from, target = runbookIndex, filepath.Base(page)
		}
		if !strings.Contains(content(t, from), "]("+target+")") {
			t.Errorf("%s does not link to %s", from, page)
		}
	}
}

func TestREADMEGivesTheTwoCommands(t *testing.T) {
	readme := content(t, "README.md")
	if lines := strings.Count(readme, "\n"); lines > 80 {
		t.Errorf("README.md has %d lines", lines)
	}
	if !strings.Contains(readme, "\ngo run ./cmd/rds-csi-plugin demo\n") {
		t.Error("the demo's command is missing")
	}
	task := regexp.MustCompile(`(?m)^go run github\.com/go-task/task/v3/cmd/task@v[0-9.]+ test$`).FindString(readme)
	for _, file := range []string{"Taskfile.yml", ".ci/run"} {
		if task == "" || !strings.Contains(content(t, file), task) {
			t.Errorf("README.md says %q to test, %s does not", task, file)
		}
	}
}

// rows are the cells of a page's tables below a heading, those whose first cell is code.
func rows(t *testing.T, page, title string) [][]string {
	t.Helper()
	_, text, ok := strings.Cut(content(t, page), "\n"+title+"\n")
	if !ok {
		t.Fatalf("%s has no %s", page, title)
	}
	if end := strings.Index(text, "\n## "); end >= 0 {
		text = text[:end]
	}
	var table [][]string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cells := strings.Split(strings.ReplaceAll(strings.Trim(line, "| \n"), `\|`, "\x00"), "|")
		for i := range cells {
			cells[i] = strings.Trim(strings.TrimSpace(strings.ReplaceAll(cells[i], "\x00", "|")), "`")
		}
		table = append(table, cells)
	}
	return table
}

// kindCodes reads the one table from kinds to gRPC codes out of the source: it is not exported.
func kindCodes(t *testing.T) map[string]string {
	t.Helper()
	names := map[string]string{}
	for _, m := range regexp.MustCompile(`(\w+)\s+Kind = "(\w+)"`).FindAllStringSubmatch(content(t, "pkg/fault/kind.go"), -1) {
		names[m[1]] = m[2]
	}
	codes := map[string]string{}
	cases := regexp.MustCompile(`case (fault\.[^:]+):\s+return codes\.(\w+)`)
	for _, m := range cases.FindAllStringSubmatch(content(t, "pkg/driver/status.go"), -1) {
		for name := range strings.SplitSeq(m[1], ", ") {
			codes[names[strings.TrimPrefix(name, "fault.")]] = m[2]
		}
	}
	if len(codes) < 10 {
		t.Fatalf("pkg/driver/status.go was not understood: %v", codes)
	}
	return codes
}

func TestErrorsReferenceHasEveryKindAndReason(t *testing.T) {
	const page = "docs/reference/errors.md"
	codes := kindCodes(t)
	var kinds, reasons []string
	for _, kind := range faulttest.Kinds() {
		code, listed := codes[string(kind)]
		if !listed {
			code = "Internal"
		}
		kinds = append(kinds, string(kind)+" "+code)
	}
	for _, reason := range fault.Reasons() {
		reasons = append(reasons, string(reason)+" "+string(reason.Kind()))
	}
	for title, want := range map[string][]string{"## Kinds": kinds, "## Reasons": reasons} {
		var got []string
		for _, row := range rows(t, page, title) {
			got = append(got, row[0]+" "+row[1])
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s %s lists\n%q\nwant\n%q", page, title, got, want)
		}
	}
}

func TestEventsReferenceHasEveryReason(t *testing.T) {
	var got, want []string
	for _, row := range rows(t, "docs/reference/events.md", "## Reasons") {
		got = append(got, row[0]+" "+row[1])
		if len(row) != 5 || slices.Contains(row, "") {
			t.Errorf("%q has not all it should say", row)
		}
	}
	for _, reason := range telemetry.EventReasons() {
		kind := " Normal"
		if reason.Warning() {
			kind = " Warning"
		}
		want = append(want, string(reason)+kind)
	}
	if !slices.Equal(got, want) {
		t.Errorf("docs/reference/events.md lists\n%q\nwant\n%q", got, want)
	}
}

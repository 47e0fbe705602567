package monitoring

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const runbooks = "../../docs/runbooks"

// runbookNames are those of all runbooks, without the index.
func runbookNames(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(runbooks)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if name := strings.TrimSuffix(e.Name(), ".md"); name != "README" {
			names = append(names, name)
		}
	}
	return names
}

func TestEveryAlertHasARunbookAndEveryRunbookAnAlert(t *testing.T) {
	var want []string
	for _, a := range alerts(t) {
		want = append(want, a.Alert)
	}
	slices.Sort(want)
	if got := runbookNames(t); !slices.Equal(got, want) {
		t.Errorf("runbooks:\n%v\nalerts:\n%v", got, want)
	}
}

func TestRunbooksAnswerTheSameQuestions(t *testing.T) {
	heading := regexp.MustCompile(`(?m)^##? .*$`) // what is below is the runbook's own
	for _, name := range runbookNames(t) {
		want := []string{"# " + name, "## Meaning", "## What users see", "## Find the cause", "## What to do", "## When it ends"}
		if got := heading.FindAllString(read(t, filepath.Join(runbooks, name+".md")), -1); !slices.Equal(got, want) {
			t.Errorf("%s.md has the headings\n%q, want\n%q", name, got, want)
		}
	}
}

func TestRunbookIndexHasThemAllWithTheirSeverity(t *testing.T) {
	index := read(t, filepath.Join(runbooks, "README.md"))
	for _, a := range alerts(t) {
		if row := "| [" + a.Alert + "](" + a.Alert + ".md) | " + a.Labels["severity"] + " | "; !strings.Contains(index, row) {
			t.Errorf("the index has no row %q", row)
		}
	}
}

// runbookQueries are the queries that runbooks tell to run.
func runbookQueries(t *testing.T) []expression {
	t.Helper()
	var all []expression
	fence := regexp.MustCompile("(?ms)^```promql\n(.*?)^```$")
	for _, name := range runbookNames(t) {
		for _, m := range fence.FindAllStringSubmatch(read(t, filepath.Join(runbooks, name+".md")), -1) {
			for query := range strings.Lines(m[1]) {
				all = append(all, expression{name + ".md", query})
			}
		}
	}
	if len(all) < 10 {
		t.Fatalf("runbooks have %d queries", len(all))
	}
	return all
}

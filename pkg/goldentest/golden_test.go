package goldentest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/goldentest"
)

// told is a test that notes its failures.
type told struct {
	testing.TB
	said []string
}

func (t *told) Helper() {}

func (t *told) Errorf(format string, args ...any) {
	t.said = append(t.said, fmt.Sprintf(format, args...))
}

func page(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWhatDiffersIsShown(t *testing.T) {
	t.Setenv("UPDATE_GOLDEN", "")
	const before = "# Page\n<!-- generated: a -->\none\ntwo\n<!-- end -->\nthe rest\n"
	for _, tt := range []struct {
		compare func(t testing.TB, path string)
		says    []string
	}{
		{func(t testing.TB, path string) { goldentest.Compare(t, path, before) }, nil},
		{func(t testing.TB, path string) { goldentest.Compare(t, path, "# Page\n") }, []string{"- the rest"}},
		{func(t testing.TB, path string) { goldentest.Section(t, path, "a", "one\ntwo\n") }, nil},
		{func(t testing.TB, path string) { goldentest.Section(t, path, "a", "one\n3\n") }, []string{"- two", "+ 3"}},
		{func(t testing.TB, path string) { goldentest.Section(t, path, "a", "two\none\n") }, []string{"another order"}},
	} {
		path, fake := page(t, before), &told{TB: t}
		tt.compare(fake, path)
		if len(fake.said) != min(1, len(tt.says)) {
			t.Errorf("told %q, want %q", fake.said, tt.says)
		}
		for _, want := range tt.says {
			if !strings.Contains(strings.Join(fake.said, ""), want) {
				t.Errorf("told %q, want %q", fake.said, want)
			}
		}
	}
}

func TestWhatDiffersIsWrittenWhereAsked(t *testing.T) {
	t.Setenv("UPDATE_GOLDEN", "1")
	path := page(t, "a\n<!-- generated: x -->\nold\n<!-- end -->\nz\n")
	goldentest.Section(t, path, "x", "new\n")
	if got, err := os.ReadFile(path); err != nil || string(got) != "a\n<!-- generated: x -->\nnew\n<!-- end -->\nz\n" {
		t.Errorf("%q, %v", got, err)
	}
	goldentest.Compare(t, path, "all of it\n")
	if got, err := os.ReadFile(path); err != nil || string(got) != "all of it\n" {
		t.Errorf("%q, %v", got, err)
	}
}

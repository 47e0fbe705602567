package host

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAFileIsReplacedAsAWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "id")
	for _, text := range []string{"the first, which is longer\n", "the second\n", ""} {
		if err := ReplaceFile(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("%q, %v; want %q", got, err, text)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	mustHold(t, dir, "id")
}

// A directory of that name cannot be replaced: it stays, and no temporary file does.
func TestAFileThatCannotBeReplacedLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "id")
	if err := os.MkdirAll(filepath.Join(path, "below"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := ReplaceFile(path, []byte("text")); err == nil {
		t.Error("a directory was replaced")
	}
	if err := ReplaceFile(filepath.Join(dir, "missing", "id"), nil); err == nil {
		t.Error("a directory was made")
	}
	mustHold(t, dir, "id")
}

func mustHold(t *testing.T, dir, name string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != name {
		t.Errorf("%v, %v; want %s alone", entries, err, name)
	}
}

package host_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

func TestAttributesOfAnyLength(t *testing.T) {
	const page = 4096 // what sysfs gives at most
	for _, length := range []int{0, 1, 511, 512, 513, page} {
		dir := t.TempDir()
		path := filepath.Join(dir, "attribute")
		want := strings.Repeat("x", length)
		if err := os.WriteFile(path, []byte(want+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := (host.Attributes{}).Read(opened(t, dir), "attribute"); err != nil || got != want {
			t.Errorf("of %d bytes came %d, %v", length, len(got), err)
		}
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, make([]byte, 3*page), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (host.Attributes{}).Read(opened(t, dir), "file"); !errors.Is(err, unix.EFBIG) {
		t.Errorf("a file of three pages: %v, want %v", err, unix.EFBIG)
	}
}

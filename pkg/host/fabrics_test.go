package host_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

func TestFabricsListsOptionsWithoutWriting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nvme-fabrics")
	const list = "instance=-1,cntlid=-1,transport=%s\n"
	if err := os.WriteFile(path, []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := host.NewFabrics(path).Options()
	if err != nil || got != strings.TrimSpace(list) {
		t.Errorf("got %q, %v", got, err)
	}
	if text, _ := os.ReadFile(path); string(text) != list {
		t.Errorf("the list was changed to %q", text)
	}
}

// The answer is read from the descriptor that was written: in a regular file that is what
// stands behind the text written.
func TestFabricsReadsTheAnswerOfItsOwnWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nvme-fabrics")
	const options, answer = "transport=tcp,traddr=192.0.2.1", "instance=3,cntlid=7"
	if err := os.WriteFile(path, []byte(strings.Repeat("?", len(options))+answer+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := host.NewFabrics(path).Create(options)
	if err != nil || got != answer {
		t.Errorf("got %q, %v; want %q", got, err, answer)
	}
	if text, _ := os.ReadFile(path); !strings.HasPrefix(string(text), options) {
		t.Errorf("the file holds %q", text)
	}
}

func TestFabricsKeepsTheErrno(t *testing.T) {
	missing := host.NewFabrics(filepath.Join(t.TempDir(), "nvme-fabrics"))
	if _, err := missing.Create("x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("create without the module: %v", err)
	}
	if _, err := missing.Options(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("options without the module: %v", err)
	}
	if _, err := host.NewFabrics("/dev/full").Create("x"); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a failing write: %v", err)
	}
}

func TestAttributes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	var attrs host.Attributes
	if err := attrs.Write(opened(t, dir), "state", "1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("write to a missing attribute: %v", err)
	}
	if _, err := attrs.Read(opened(t, dir), "state"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read of a missing attribute: %v", err)
	}
	if err := os.WriteFile(path, []byte("live\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := attrs.Read(opened(t, dir), "state"); err != nil || got != "live" {
		t.Errorf("read %q, %v", got, err)
	}
	if err := attrs.Write(opened(t, dir), "state", "dead"); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(path); string(text) != "dead\n" {
		t.Errorf("the attribute holds %q: it was not one write at its start", text)
	}
	if err := attrs.Write(opened(t, "/dev"), "full", "1"); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a failing write: %v", err)
	}
}

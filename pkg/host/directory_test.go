package host_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

func opened(t *testing.T, path string) *host.Directory {
	t.Helper()
	dir, err := host.OpenDirectory(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dir.Close)
	return dir
}

// device makes a directory with an attribute.
func device(t *testing.T, path, state string) {
	t.Helper()
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, "state"), []byte(state+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestADirectoryIsOfTheDeviceThatHadTheName(t *testing.T) {
	sys := t.TempDir()
	path := filepath.Join(sys, "nvme0")
	device(t, path, "live")
	dir := opened(t, path)
	var attrs host.Attributes
	if state, err := attrs.Read(dir, "state"); err != nil || state != "live" {
		t.Fatalf("read %q, %v", state, err)
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	if names, err := dir.Names(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in the directory of a device that is gone: %q, %v", names, err)
	}
	device(t, path, "another")
	if state, err := attrs.Read(dir, "state"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a device that is gone: %q, %v", state, err)
	}
	if state, err := attrs.Read(opened(t, path), "state"); err != nil || state != "another" {
		t.Errorf("the other: %q, %v", state, err)
	}
}

func TestDirectoryLeadsByLinks(t *testing.T) {
	sys := t.TempDir()
	device(t, filepath.Join(sys, "nvme0"), "live")
	device(t, filepath.Join(sys, "nvme1"), "live")
	for link, to := range map[string]string{"it": "nvme0", "dangling": "nvme9"} {
		if err := os.Symlink(to, filepath.Join(sys, link)); err != nil {
			t.Fatal(err)
		}
	}
	top, controller := opened(t, sys), opened(t, filepath.Join(sys, "nvme0"))
	for name, want := range map[string]bool{"it": true, "nvme0": true, "nvme1": false, "dangling": false, "missing": false} {
		if leads, err := top.Leads(name, controller); err != nil || leads != want {
			t.Errorf("%s leads there: %v, %v, want %v", name, leads, err, want)
		}
	}
}

func TestDirectoryNames(t *testing.T) {
	dir := opened(t, t.TempDir())
	var want []string
	for i := range 500 { // more than one reply of the kernel has
		want = append(want, "an-attribute-with-a-rather-long-name-"+string(rune('a'+i%26))+string(rune('a'+i/26)))
		if err := os.WriteFile(filepath.Join(dir.Path(), want[i]), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(want)
	for range 2 {
		names, err := dir.Names()
		if slices.Sort(names); err != nil || !slices.Equal(names, want) {
			t.Fatalf("%d names of %d, %v", len(names), len(want), err)
		}
	}
}

// What kernfs answers of a device that is gone, and tmpfs does not.
func TestAnEmptyDirectoryIsThatOfNoDevice(t *testing.T) {
	if names, err := opened(t, t.TempDir()).Names(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%q, %v", names, err)
	}
}

func TestOpenDirectoryThatIsNone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := host.OpenDirectory(file); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a file: %v", err)
	}
	if _, err := opened(t, filepath.Dir(file)).Open("missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
}

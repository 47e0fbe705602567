package rdssim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// fakeConfigFS is a directory tree that behaves like nvmet's: making a
// directory brings its attributes, removing it needs it to be free of links
// and children.
type fakeConfigFS struct {
	t    *testing.T
	root string
}

func newConfigFS(t *testing.T) *fakeConfigFS {
	f := &fakeConfigFS{t: t, root: t.TempDir()}
	for _, dir := range []string{"subsystems", "ports", "hosts"} {
		if err := os.Mkdir(filepath.Join(f.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

var configAttributes = map[string][]string{
	"subsystems": {"attr_allow_any_host", "attr_serial", "attr_cntlid_min"},
	"ports":      {"addr_adrfam", "addr_trtype", "addr_traddr", "addr_trsvcid"},
	"namespaces": {"device_path", "device_uuid", "enable", "buffered_io", "revalidate_size"},
}

func (f *fakeConfigFS) mkdir(path string) error {
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	kind := filepath.Base(filepath.Dir(path))
	for _, name := range configAttributes[kind] {
		if err := os.WriteFile(filepath.Join(path, name), nil, 0o644); err != nil {
			return err
		}
	}
	children := map[string][]string{"subsystems": {"namespaces", "allowed_hosts"}, "ports": {"subsystems"}}
	for _, child := range children[kind] {
		if err := os.Mkdir(filepath.Join(path, child), 0o755); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeConfigFS) rmdir(path string) error {
	if _, err := os.Stat(path); err != nil {
		return err
	}
	for _, child := range []string{"namespaces", "allowed_hosts", "subsystems"} {
		if entries, err := os.ReadDir(filepath.Join(path, child)); err == nil && len(entries) > 0 {
			return syscall.EBUSY
		}
	}
	if f.linked(path) {
		return syscall.EBUSY
	}
	return os.RemoveAll(path)
}

// linked reports whether a symbolic link points to the directory: the kernel
// then refuses to remove it.
func (f *fakeConfigFS) linked(path string) bool {
	found := false
	err := filepath.WalkDir(f.root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type() == fs.ModeSymlink {
			if to, err := os.Readlink(p); err == nil && to == path {
				found = true
			}
		}
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return found
}

// dump lists attributes that are set and links.
func (f *fakeConfigFS) dump() string {
	var lines []string
	err := filepath.WalkDir(f.root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := strings.TrimPrefix(p, f.root+"/")
		if d.Type() == fs.ModeSymlink {
			to, err := os.Readlink(p)
			lines = append(lines, name+" -> "+strings.TrimPrefix(to, f.root+"/"))
			return err
		}
		text, err := os.ReadFile(p)
		if len(text) > 0 {
			lines = append(lines, name+" = "+string(text))
		}
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

func newTarget(t *testing.T) (*nvmet, *fakeConfigFS) {
	f := newConfigFS(t)
	n, err := newNVMeT(f.root, "192.0.2.1:4420")
	if err != nil {
		t.Fatal(err)
	}
	n.mkdir, n.rmdir = f.mkdir, f.rmdir
	if err := n.Open(); err != nil {
		t.Fatal(err)
	}
	return n, f
}

var testExport = export{
	NQN: "nqn.a", Port: 4420, Path: "/x/disk.img", Hosts: []string{"nqn.h1", "nqn.h2"}, Size: 1 << 30, Slot: "csi-0123456789abcdef01234567",
	UUID: "6a6d8c1e-0000-4000-8000-000000000001",
}

func TestAnExportInConfigFS(t *testing.T) {
	n, f := newTarget(t)
	if err := n.Export(testExport); err != nil {
		t.Fatal(err)
	}
	want := `ports/4420/addr_adrfam = ipv4
ports/4420/addr_traddr = 192.0.2.1
ports/4420/addr_trsvcid = 4420
ports/4420/addr_trtype = tcp
ports/4420/subsystems/nqn.2000-02.com.mikrotik:rds-sim.listen -> subsystems/nqn.2000-02.com.mikrotik:rds-sim.listen
ports/4420/subsystems/nqn.a -> subsystems/nqn.a
subsystems/nqn.a/allowed_hosts/nqn.h1 -> hosts/nqn.h1
subsystems/nqn.a/allowed_hosts/nqn.h2 -> hosts/nqn.h2
subsystems/nqn.a/attr_allow_any_host = 0
subsystems/nqn.a/attr_cntlid_min = 1
subsystems/nqn.a/attr_serial = 456789abcdef01234567
subsystems/nqn.a/namespaces/1/device_path = /x/disk.img
subsystems/nqn.a/namespaces/1/device_uuid = 6a6d8c1e-0000-4000-8000-000000000001
subsystems/nqn.a/namespaces/1/enable = 1
`
	if got := f.dump(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestWithdrawAndCloseLeaveNothing(t *testing.T) {
	n, f := newTarget(t)
	other := testExport
	other.NQN, other.Port, other.Hosts = "nqn.b", 4421, []string{"nqn.h1"}
	for _, e := range []export{testExport, other} {
		if err := n.Export(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Withdraw(testExport); err != nil {
		t.Fatal(err)
	}
	if err := n.Withdraw(testExport); err != nil {
		t.Errorf("a second time: %v", err)
	}
	if _, err := os.Stat(filepath.Join(f.root, "hosts/nqn.h1")); err != nil {
		t.Errorf("a host that another export lists: %v", err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"subsystems", "ports", "hosts"} {
		if left, err := os.ReadDir(filepath.Join(f.root, dir)); err != nil || len(left) > 0 {
			t.Errorf("%s has %v, %v", dir, left, err)
		}
	}
}

func TestHostsChangeInPlace(t *testing.T) {
	n, f := newTarget(t)
	if err := n.Export(testExport); err != nil {
		t.Fatal(err)
	}
	last := testExport
	for _, hosts := range [][]string{{"nqn.h2", "nqn.h3"}, {}, {"nqn.h1"}} {
		now := testExport
		now.Hosts, now.Size = hosts, 2<<30
		if err := n.Update(last, now); err != nil {
			t.Fatal(err)
		}
		last = now
		var listed []string
		entries, err := os.ReadDir(n.subsystem("nqn.a", "allowed_hosts"))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			listed = append(listed, e.Name())
		}
		if !slices.Equal(listed, hosts) && len(listed)+len(hosts) > 0 {
			t.Errorf("hosts %v, want %v", listed, hosts)
		}
		if want := fmt.Sprintf("attr_allow_any_host = %s", anyHost(now)); !strings.Contains(f.dump(), want) {
			t.Errorf("no %s in\n%s", want, f.dump())
		}
	}
	if !strings.Contains(f.dump(), "revalidate_size = 1") {
		t.Error("the kernel was not told of the size")
	}
}

func TestControllerIDsDoNotComeBack(t *testing.T) {
	n, f := newTarget(t)
	for i := range 3 {
		if err := n.Export(testExport); err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("attr_cntlid_min = %d\n", 1+i*cntlidStep); !strings.Contains(f.dump(), want) {
			t.Errorf("export %d: no %s in\n%s", i, want, f.dump())
		}
		if err := n.Withdraw(testExport); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatAKilledSimulatorLeftIsTakenDown(t *testing.T) {
	n, f := newTarget(t)
	other, moved := testExport, testExport
	other.NQN, other.Port, moved.NQN = "nqn.b", 4421, "nqn.c"
	for _, e := range []export{testExport, moved, other} {
		if err := n.Export(e); err != nil {
			t.Fatal(err)
		}
	}
	// Killed in the middle of a withdrawal.
	if err := os.Remove(n.portDir(4420, "subsystems", "nqn.a")); err != nil {
		t.Fatal(err)
	}
	again, err := newNVMeT(f.root, "192.0.2.1:4420")
	if err != nil {
		t.Fatal(err)
	}
	again.mkdir, again.rmdir = f.mkdir, f.rmdir
	if err := again.Open(); err != nil {
		t.Fatal(err)
	}
	if got := f.dump(); strings.Contains(got, "nqn.c") || !strings.Contains(got, "ports/4420/subsystems/"+dummyNQN) {
		t.Errorf("after a new start\n%s", got)
	}
	for _, e := range []export{other, testExport} {
		if err := again.Export(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(f.dump()); got != "" {
		t.Errorf("left at the end\n%s", got)
	}
}

func TestAFailedExportIsTakenDown(t *testing.T) {
	n, f := newTarget(t)
	before := f.dump()
	n.mkdir = func(path string) error {
		if filepath.Base(filepath.Dir(path)) == "namespaces" {
			return syscall.ENOSPC
		}
		return f.mkdir(path)
	}
	if err := n.Export(testExport); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("got %v", err)
	}
	if got := f.dump(); got != before {
		t.Errorf("left behind\n%s", got)
	}
}

func TestWithoutNVMeTTheArraySaysHowToGetIt(t *testing.T) {
	_, err := Start(t.Context(), Options{Dir: t.TempDir(), Export: "nvmet", ConfigFS: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "modprobe -a nvmet nvmet_tcp") {
		t.Errorf("got %v", err)
	}
	_, err = Start(t.Context(), Options{Dir: t.TempDir(), Export: "nvmet", NVMeAddress: "array:4420"})
	if err == nil || !strings.Contains(err.Error(), "numeric IP address") {
		t.Errorf("got %v", err)
	}
}

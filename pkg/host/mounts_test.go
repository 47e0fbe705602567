package host

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const sampleMountinfo = `26 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
23 26 0:6 / /dev rw,relatime shared:2 - devtmpfs devtmpfs rw,size=12334448k
98 26 259:3 / /mnt/a\040b rw,nosuid,relatime shared:7 master:1 - xfs /dev/nvme0n1 rw,attr2
99 26 0:44 / /mnt/btrfs rw,relatime - btrfs /dev/nvme1n1 rw,subvolid=5,subvol=/
100 26 0:45 / /mnt/dead rw,relatime - btrfs /dev/nvme9n1 rw,subvolid=5,subvol=/
101 26 0:6 /nvme0n1 /mnt/block rw,relatime shared:2 - devtmpfs devtmpfs rw
102 26 259:4 / /mnt/ro rw,relatime - ext4 /dev/nvme2n1 ro
103 26 259:4 / /mnt/ro2 ro,relatime - ext4 /dev/nvme2n1 rw
104 26 0:6 /zero /mnt/zero rw,relatime shared:2 - devtmpfs devtmpfs rw
105 26 0:6 /nvme7n1 /mnt/twice rw,relatime shared:2 - devtmpfs devtmpfs rw
106 26 0:7 /nvme8n1 /mnt/twice rw,relatime shared:2 - tmpfs tmpfs rw
`

func fakeNumber(path string) (DevNum, bool) {
	known := map[string]DevNum{"/dev/nvme1n1": {259, 9}, "/mnt/block": {259, 3}, "/mnt/twice": {259, 4}}
	num, ok := known[path]
	return num, ok
}

func TestParseMounts(t *testing.T) {
	table, err := parseMounts(strings.NewReader(sampleMountinfo), fakeNumber)
	if err != nil {
		t.Fatal(err)
	}
	byPath := map[string]MountPoint{}
	for _, point := range table {
		byPath[point.Path] = point
	}
	if len(byPath) != 10 {
		t.Fatalf("mounts at %d places, want 10", len(byPath))
	}
	xfs := byPath["/mnt/a b"]
	if xfs.Dev != (DevNum{259, 3}) || xfs.FSType != "xfs" || xfs.Source != "/dev/nvme0n1" || xfs.Root != "/" {
		t.Errorf("xfs = %+v", xfs)
	}
	if !slices.Equal(xfs.Options, []string{"rw", "nosuid", "relatime"}) || !slices.Equal(xfs.SuperOptions, []string{"rw", "attr2"}) {
		t.Errorf("options = %v, %v", xfs.Options, xfs.SuperOptions)
	}
	if got := byPath["/mnt/btrfs"].Dev; got != (DevNum{259, 9}) {
		t.Errorf("btrfs device = %v, want that of its source", got)
	}
	if got := byPath["/mnt/dead"].Dev; got != (DevNum{0, 45}) {
		t.Errorf("btrfs without its source = %v, want the anonymous number", got)
	}
	if got := byPath["/mnt/block"]; got.Root != "/nvme0n1" || got.Dev != (DevNum{0, 6}) {
		t.Errorf("bound device node = %+v", got)
	}
	if num, ok := byPath["/mnt/block"].Node(); !ok || num != (DevNum{259, 3}) {
		t.Errorf("number of the bound device node = %v, %v", num, ok)
	}
	for _, path := range []string{"/", "/dev", "/mnt/btrfs", "/mnt/zero"} {
		if num, ok := byPath[path].Node(); ok {
			t.Errorf("%s is taken for device node %v", path, num)
		}
	}
	// What is below another mount cannot be looked at.
	for i, want := range map[int]bool{len(table) - 2: false, len(table) - 1: true} {
		if num, ok := table[i].Node(); ok != want {
			t.Errorf("layer %d: %v, %v; want %v", i, num, ok, want)
		}
	}
	for path, want := range map[string]bool{"/mnt/a b": false, "/mnt/ro": true, "/mnt/ro2": true} {
		if got := byPath[path].ReadOnly(); got != want {
			t.Errorf("%s: ReadOnly = %v, want %v", path, got, want)
		}
	}
}

func TestParseMountsRefusesWhatItDoesNotUnderstand(t *testing.T) {
	for _, text := range []string{"26 1 254:0 / /\n", "26 1 2540 / / rw - ext4 /dev/vda rw\n", "a b c d e f g h i j k\n"} {
		if table, err := parseMounts(strings.NewReader(text), fakeNumber); err == nil {
			t.Errorf("%q: no error, table %v", text, table)
		}
	}
}

func FuzzParseMounts(f *testing.F) {
	f.Add(sampleMountinfo)
	f.Add(`1 1 0:1 /\040 /\134 rw master:1 propagate_from:2 - btrfs \011 rw`)
	f.Add("- - - - - - - - - -")
	f.Fuzz(func(t *testing.T, text string) {
		table, err := parseMounts(strings.NewReader(text), fakeNumber)
		if err != nil && table != nil {
			t.Error("a table beside an error")
		}
		if lines := strings.Count(text, "\n") + 1; len(table) > lines {
			t.Errorf("%d mounts of %d lines", len(table), lines)
		}
	})
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mount(2) needs root: run the tests as root to exercise the real kernel")
	}
}

func mountTmpfs(t *testing.T, options ...string) string {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	if err := NewMounts().Mount("tmpfs", dir, "tmpfs", options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unmountAll(t, dir) })
	return dir
}

func unmountAll(t *testing.T, path string) {
	t.Helper()
	for topmost(t, path) != nil {
		if err := NewMounts().Unmount(path); err != nil {
			t.Errorf("clean up: %v", err)
			return
		}
	}
}

func topmost(t *testing.T, path string) *MountPoint {
	t.Helper()
	table, err := NewMounts().Table()
	if err != nil {
		t.Fatal(err)
	}
	for _, point := range slices.Backward(table) {
		if point.Path == path {
			return &point
		}
	}
	return nil
}

func TestMountAndUnmountOnTheRealKernel(t *testing.T) {
	dir := mountTmpfs(t, "nosuid", "size=64k")
	point := topmost(t, dir)
	if point == nil || point.FSType != "tmpfs" || !slices.Contains(point.Options, "nosuid") || !slices.Contains(point.SuperOptions, "size=64k") {
		t.Fatalf("mount = %+v", point)
	}
	if err := NewMounts().Unmount(dir); err != nil {
		t.Fatal(err)
	}
	if point := topmost(t, dir); point != nil {
		t.Errorf("still there: %+v", point)
	}
	if err := NewMounts().Unmount(dir); !errors.Is(err, unix.EINVAL) {
		t.Errorf("unmount of nothing = %v, want EINVAL", err)
	}
}

func TestUnmountRefusesABusyMount(t *testing.T) {
	dir := mountTmpfs(t)
	file, err := os.Create(dir + "/open")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := NewMounts().Unmount(dir); !errors.Is(err, unix.EBUSY) {
		t.Errorf("error = %v, want EBUSY", err)
	}
}

func TestReadOnlyBindKeepsTheFlagsOfItsSource(t *testing.T) {
	source, target := mountTmpfs(t, "nosuid", "nodev"), t.TempDir()
	if err := NewMounts().Bind(source, target, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unmountAll(t, target) })
	point := topmost(t, target)
	if point == nil || !point.ReadOnly() || !slices.Contains(point.Options, "nosuid") || !slices.Contains(point.Options, "nodev") {
		t.Fatalf("bind mount = %+v", point)
	}
	if err := os.WriteFile(target+"/x", nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("write through the read-only mount = %v, want EROFS", err)
	}
	if err := os.WriteFile(source+"/x", nil, 0o600); err != nil {
		t.Errorf("write at the source: %v", err)
	}
}

// mountinfo shows where a mount really is, and so must be looked for by that name.
func TestReadOnlyBindBelowALinkedDirectory(t *testing.T) {
	source, dir := mountTmpfs(t, "nosuid"), t.TempDir()
	if err := os.MkdirAll(dir+"/real/target", 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir+"/real", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if err := NewMounts().Bind(source, dir+"/link/target", true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unmountAll(t, dir+"/real/target") })
	if point := topmost(t, dir+"/real/target"); point == nil || !point.ReadOnly() || !slices.Contains(point.Options, "nosuid") {
		t.Errorf("bind mount = %+v", point)
	}
}

func TestABoundDeviceNodeHasTheNumberOfItsDevice(t *testing.T) {
	device, target := loopDevice(t, 1<<20), t.TempDir()+"/node"
	if err := os.WriteFile(target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := NewMounts().Bind(device, target, false); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unmountAll(t, target) })
	want := openBlock(t, device, false, false).Num()
	if num, ok := topmost(t, target).Node(); !ok || num != want {
		t.Errorf("Node = %v, %v; want %v", num, ok, want)
	}
}

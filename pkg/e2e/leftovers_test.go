package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// traces are what a program can leave on a machine.
type traces struct {
	mounts, loops, files []string
}

// lookAround notes mounts, loop devices and temporary files below dir, which the test's programs use for
// all they make.
func lookAround(t *testing.T, dir string) traces {
	t.Helper()
	var found traces
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		if strings.Contains(line, dir) {
			found.mounts = append(found.mounts, line)
		}
	}
	backing, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range backing {
		if data, err := os.ReadFile(name); err == nil && strings.Contains(string(data), dir) {
			found.loops = append(found.loops, string(data))
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		found.files = append(found.files, e.Name())
	}
	return found
}

// leavesNothing gives a directory for temporary files, and fails the test if anything that was made below
// it is still on the machine at the end. It tidies up, so that one failure does not spoil the next run.
func leavesNothing(t *testing.T) (dir string, check func()) {
	t.Helper()
	dir, err := os.MkdirTemp("", "rds-csi-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil { // an ordinary user must get at it, too
		t.Fatal(err)
	}
	t.Cleanup(func() {
		tidy(t, dir)
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir, func() {
		t.Helper()
		left := lookAround(t, dir)
		for what, list := range map[string][]string{"mounts": left.mounts, "loop devices": left.loops, "files": left.files} {
			if len(list) > 0 {
				t.Errorf("left behind: %s: %v", what, list)
			}
		}
	}
}

func tidy(t *testing.T, dir string) {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], dir) {
			paths = append(paths, fields[4])
		}
	}
	slices.Reverse(paths)
	for _, path := range paths {
		if out, err := exec.Command("umount", path).CombinedOutput(); err != nil {
			t.Errorf("umount %s: %v: %s", path, err, out)
		}
	}
	devices, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range devices {
		data, err := os.ReadFile(name)
		if err != nil || !strings.HasPrefix(string(data), dir) {
			continue
		}
		device := "/dev/" + strings.Split(name, "/")[3]
		if out, err := exec.Command("losetup", "-d", device).CombinedOutput(); err != nil {
			t.Errorf("losetup -d %s: %v: %s", device, err, out)
		}
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts loop devices")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skip("needs loop devices:", err)
	}
}

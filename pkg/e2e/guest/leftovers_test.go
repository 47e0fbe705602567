package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// controllers are the kernel's NVMe/TCP controllers, as "nvme0 live NQN".
func controllers(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob("/sys/class/nvme/nvme*")
	ok(t, err)
	var list []string
	for _, dir := range dirs {
		state, err := os.ReadFile(filepath.Join(dir, "state"))
		nqn, nqnErr := os.ReadFile(filepath.Join(dir, "subsysnqn"))
		if err != nil || nqnErr != nil { // gone at this very moment
			continue
		}
		list = append(list, fmt.Sprintf("%s %s %s", filepath.Base(dir), strings.TrimSpace(string(state)), strings.TrimSpace(string(nqn))))
	}
	return list
}

// mountsBelow are the mount points below a directory, the last mounted first.
func mountsBelow(t *testing.T, dir string) []string {
	t.Helper()
	table, err := host.NewMounts().Table()
	ok(t, err)
	var list []string
	for _, point := range slices.Backward(table) {
		if strings.HasPrefix(point.Path, dir+"/") {
			list = append(list, point.Path)
		}
	}
	return list
}

// check fails a test that passed so far for what it has left. It runs while the programs still do.
func (c *cluster) check() {
	if c.t.Failed() {
		return
	}
	left := slices.Concat(controllers(c.t), mountsBelow(c.t, c.dir))
	for _, n := range c.nodes {
		left = append(left, n.records()...)
	}
	if len(left) > 0 {
		c.t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
}

// tidy takes down by force what a failed test has left, so that the next one starts afresh. It runs after
// the programs are gone.
func (c *cluster) tidy() {
	for _, line := range controllers(c.t) {
		c.t.Logf("tidy: delete controller %s", line)
	}
	deleteControllers(c.t)
	for _, path := range mountsBelow(c.t, c.dir) {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			c.t.Errorf("tidy: umount %s: %v", path, err)
		}
	}
	if left := clearTarget(c.t); left && !c.t.Failed() {
		c.t.Error("the array has left exports in the kernel's target")
	}
	if err := os.RemoveAll(c.dir); err != nil {
		c.t.Error(err)
	}
}

// clearTarget empties the kernel's NVMe target, and tells whether there was anything.
func clearTarget(t *testing.T) (found bool) {
	t.Helper()
	// Links before what they point to, children before their parents.
	for _, pattern := range []string{
		"ports/*/subsystems/*", "subsystems/*/allowed_hosts/*", "subsystems/*/namespaces/*", "subsystems/*", "ports/*", "hosts/*",
	} {
		paths, err := filepath.Glob(filepath.Join(configFS, pattern))
		ok(t, err)
		for _, path := range paths {
			found = true
			if err := os.Remove(path); err != nil {
				t.Errorf("clear the target: %v", err)
			}
		}
	}
	return found
}

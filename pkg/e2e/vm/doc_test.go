// Package vm boots virtual machines and runs the tests of pkg/e2e/guest in them, on real kernels.
// `task e2e:vm` runs it; scripts/e2e-vm says what it needs.
package vm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getenv("RDS_E2E_VM") == "" {
		fmt.Println("vm: left out: the tests in a virtual machine are run by `task e2e:vm`")
		return 0
	}
	defer os.RemoveAll(programs())
	if err := build(programs()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// programs is where run has built the programs and the guest's tests.
func programs() string { return filepath.Join(os.TempDir(), fmt.Sprintf("rds-csi-vm-%d", os.Getpid())) }

// build makes static programs: the guest has its own libc. So the race detector, which needs cgo, does
// not run in the guest; the same code runs under it in the unit tests. The flags are those of the image and of
// the chart's Helm, so that what all of them use is compiled once.
func build(dir string) error {
	for _, args := range [][]string{
		{"build", "-trimpath", "-o", dir + "/", "../../../cmd/..."},
		{"test", "-trimpath", "-c", "-o", filepath.Join(dir, guestTests), "../guest"},
	} {
		cmd := exec.Command("go", args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go %v: %w\n%s", args, err, out)
		}
	}
	return nil
}

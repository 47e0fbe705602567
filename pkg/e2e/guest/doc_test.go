// Package guest has the tests that need a kernel of their own: they connect, mount, cut and kill. They
// run as root in a virtual machine that is thrown away (pkg/e2e/vm), never on the machine you work on.
package guest

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

// shared is the directory with the programs, which the host has made.
func shared() string { return os.Getenv("RDS_E2E_GUEST") }

// full is whether there is time for all counts and combinations.
func full() bool { return os.Getenv("RDS_E2E_FULL") != "" }

func run(m *testing.M) int {
	if shared() == "" {
		fmt.Println("guest: left out: these tests run in a virtual machine only, by `task e2e:vm`")
		return 0
	}
	if out, err := exec.Command("modprobe", "-a", "nvmet", "nvmet_tcp", "loop").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "the kernel's NVMe target: %v: %s", err, out)
		return 1
	}
	return m.Run()
}

package vm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// guestTests is the name of the test binary.
const guestTests = "guest.test"

// guest says which machine to boot and which tests to run in it.
type guest struct {
	name       string   // stands before its output
	kernel     string   // 6.1 or 6.12
	parameters []string // of the kernel, such as nvme_core.multipath=N
	memory     int      // MiB; the guest's file systems and the array's files are in there
	limit      time.Duration
	tests      []string // arguments of the test binary, such as -test.run=…
	env        []string // for the tests
	link       *os.File // one end of a private Ethernet, nil for none
	station    int      // which of its ends: the address is 10.77.0.<station>
}

// share makes the directory that the guest sees as /share: the programs, the alerts, and the job that init runs.
func (g guest) share(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	entries, err := os.ReadDir(programs())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.Link(filepath.Join(programs(), e.Name()), filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	give(t, dir, "../../../manifests/monitoring/rules.yaml") // what the alerts see is asked in the guest
	if promtool, err := exec.LookPath("promtool"); err == nil {
		give(t, dir, promtool)
	}
	if err := os.WriteFile(filepath.Join(dir, "job"), []byte(g.job()), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// give copies a file of the host into the share.
func give(t *testing.T, dir, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), data, 0o755); err != nil {
		t.Fatal(err)
	}
}

// job lets the tests end by themselves, with the stacks of what hangs, before the guest is killed.
func (g guest) job() string {
	var b strings.Builder
	b.WriteString("#!/bin/bash\nexport RDS_E2E_GUEST=/share\n")
	for _, entry := range g.env {
		fmt.Fprintf(&b, "export %s\n", quote(entry))
	}
	fmt.Fprintf(&b, "exec /share/%s -test.v -test.timeout=%s", guestTests, g.limit-graceAtEnd)
	for _, arg := range g.tests {
		b.WriteString(" " + quote(arg))
	}
	return b.String() + "\n"
}

// quote is for a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

package guest

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
)

// beginCheck starts check --write against the cluster's array.
func (c *cluster) beginCheck(report string) *program.Process {
	c.t.Helper()
	return program.Begin(c.t, built("rds-csi-plugin"), nil, append([]string{"check", "--write", "--report=" + report}, c.array.driver...)...)
}

// wantLines looks for findings, and for nothing left: items are what the array had before.
func (c *cluster) wantLines(out string, items any, lines ...string) {
	c.t.Helper()
	for _, line := range append(lines, "OK       clean-up: nothing of the scratch volume is left") {
		if !strings.Contains(out, line) {
			c.t.Errorf("it does not say %q:\n%s", line, out)
		}
	}
	if now := c.array.state().Items; !reflect.DeepEqual(any(now), items) {
		c.t.Errorf("on the array is now %v, before %v", now, items)
	}
	if left := controllers(c.t); len(left) > 0 {
		c.t.Errorf("left are %v", left)
	}
}

// check --write over real NVMe/TCP: what the kernel's own target, of which the simulated array is made, does
// with live sessions is what the driver assumes.
func TestCheckTriesLiveSessions(t *testing.T) {
	c := newCluster(t)
	before, report := any(c.array.state().Items), filepath.Join(c.dir, "report")
	p := c.beginCheck(report)
	if code := p.Code(t); code != 0 {
		t.Errorf("code %d: %s", code, p.Stderr)
	}
	c.wantLines(p.Stdout.String(), before,
		"OK       NVMe/TCP port: a volume is exported",
		"OK       connect: this machine is connected, and its device has the right size",
		"OK       a host that is not allowed: it is refused",
		"OK       two allowed hosts: they are taken, and both get in",
		"OK       growth seen by the host: it sees the new size while connected",
		"OK       end of the export: a live session ends with it",
		"OK       change of the NQN: the old session does not come back",
	)
	text, err := os.ReadFile(report)
	if err != nil || strings.Contains(string(text), "127.0.0.1") || !strings.Contains(string(text), "a live session ends with it") {
		t.Errorf("%v: the report is %s", err, text)
	}
}

// An array that takes a list of hosts for one name, and does not grow what is exported, is found out by the kernel.
func TestCheckNamesWhatDiffers(t *testing.T) {
	c := newCluster(t, "--differ=one-name-acl", "--differ=no-exported-grow")
	before := any(c.array.state().Items)
	p := c.beginCheck(filepath.Join(c.dir, "report"))
	if code := p.Code(t); code != 0 {
		t.Errorf("code %d: %s", code, p.Stderr)
	}
	c.wantLines(p.Stdout.String(), before,
		"OK       connect: this machine is connected",
		"warning  two allowed hosts: answers differently from what the driver assumes: it takes a list of two hosts and does not let in the second",
		"warning  growth: answers differently from what the driver assumes: it refuses to make an exported disk larger",
		"OK       end of the export: a live session ends with it",
	)
}

// Ctrl-C while it is connected: neither session nor volume is left.
func TestCheckInterruptedLeavesNothing(t *testing.T) {
	c := newCluster(t)
	before := any(c.array.state().Items)
	p := c.beginCheck(filepath.Join(c.dir, "report"))
	program.Await(t, "it is connected", func() bool { return !p.Running() || strings.Contains(p.Stdout.String(), "this machine is connected") })
	p.Signal(t, syscall.SIGINT)
	if code := p.Code(t); code != 1 {
		t.Errorf("code %d: %s", code, p.Stderr)
	}
	c.wantLines(p.Stdout.String(), before, "failed   interrupted: not everything was looked at")
}

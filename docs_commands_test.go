package house_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
)

// A block of commands in the docs has one of these right above it (no reader sees it):
//
//	<!-- tested -->
//	<!-- tested if: root, curl -->     root, or a program that must be there
//	<!-- not tested: the reason -->
//
// The tested blocks of one page are one session of one shell, begun at the module's root.
var marker = regexp.MustCompile(`^<!-- (?:(tested)|tested if: ([a-z, -]+)|not tested: (\S.*)) -->$`)

// commandsTimeout is for a machine that has to build everything first.
const commandsTimeout = 5 * time.Minute

type block struct {
	line   int
	text   string
	tested bool
	needs  []string
}

// blocks are a page's commands. One without a word on whether it is tested is a mistake.
func blocks(t *testing.T, page string) []block {
	t.Helper()
	var found []block
	lines := strings.Split(content(t, page), "\n")
	for i := 0; i < len(lines); i++ {
		if lines[i] != "```sh" && lines[i] != "```routeros" {
			continue
		}
		m := marker.FindStringSubmatch(lines[i-1])
		if m == nil {
			t.Errorf("%s:%d: say above the block whether it is tested: %s", page, i+1, marker)
			continue
		}
		b := block{line: i + 1, tested: m[3] == ""}
		if m[2] != "" {
			b.needs = strings.Split(m[2], ", ")
		}
		for i++; lines[i] != "```"; i++ {
			b.text += lines[i] + "\n"
		}
		found = append(found, b)
	}
	return found
}

// lacks is the first need that this machine does not meet, or "".
func lacks(needs []string) string {
	for _, need := range needs {
		if need != "root" {
			if _, err := exec.LookPath(need); err != nil {
				return need
			}
			continue
		}
		_, err := os.Stat("/dev/loop-control")
		if os.Geteuid() != 0 || err != nil {
			return "root with loop devices"
		}
	}
	return ""
}

func TestTheCommandsInTheDocsWork(t *testing.T) {
	for _, page := range pages(t) {
		var script strings.Builder
		var left []string
		for _, b := range blocks(t, page) {
			missing := lacks(b.needs)
			switch {
			case !b.tested:
			case missing == "":
				fmt.Fprintf(&script, "echo '== line %d' >&2\n%s", b.line, b.text)
			default:
				left = append(left, fmt.Sprintf("line %d, which needs %s", b.line, missing))
			}
		}
		if script.Len() > 0 {
			t.Run(page, func(t *testing.T) { shell(t, script.String()) })
		}
		for _, what := range left {
			t.Run(page, func(t *testing.T) { t.Skip("left out: " + what) })
		}
	}
}

// shell runs a session and ends what it has left running. Port 9809 may be taken on this machine.
func shell(t *testing.T, script string) {
	t.Helper()
	free := freePort(t)
	ctx, cancel := context.WithTimeout(t.Context(), commandsTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", strings.ReplaceAll(script, "9809", free))
	cmd.Env = append(plainEnvironment(), "TMPDIR="+shortDir(t), "RDS_CSI_METRICS_ADDRESS=127.0.0.1:"+free)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	err := cmd.Run()
	if killed := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM); !errors.Is(killed, syscall.ESRCH) {
		t.Error("the session left a program running")
	}
	if err != nil {
		t.Errorf("%v\n%s", err, &out)
	}
}

// plainEnvironment is the test's own, without what would configure the driver or its telemetry.
func plainEnvironment() []string {
	return slices.DeleteFunc(os.Environ(), func(entry string) bool {
		return strings.HasPrefix(entry, "OTEL_") || strings.HasPrefix(entry, "RDS_CSI_")
	})
}

// shortDir is a directory in which a unix socket's path stays below the kernel's limit of 107 bytes.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "docs-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// helpFlag is a flag as package flag prints it.
var helpFlag = regexp.MustCompile(`(?m)^  -(\S+)(?: \S+)?\n\s+\t(.*)$`)

func TestSimulatorReferenceHasEveryFlag(t *testing.T) {
	run := exec.CommandContext(t.Context(), "go", "run", "-trimpath", "./cmd/rds-sim", "--help")
	run.Env = append(os.Environ(), "CGO_ENABLED=0") // as the image is built, and so most other tests
	help, err := run.Output()
	if err != nil {
		t.Fatal(err)
	}
	defaultOf := regexp.MustCompile(`\(default "?([^")]*)"?\)$`)
	want := map[string]string{}
	for _, m := range helpFlag.FindAllStringSubmatch(string(help), -1) {
		want["--"+m[1]] = ""
		if d := defaultOf.FindStringSubmatch(m[2]); d != nil {
			want["--"+m[1]] = d[1]
		}
	}
	if len(want) < 5 {
		t.Fatalf("the help was not understood: %s", help)
	}
	for _, row := range rows(t, "docs/reference/simulator.md", "## Flags") {
		value, known := want[row[0]]
		if !known || value != "" && value != row[1] {
			t.Errorf("listed is %s with default %q; rds-sim has %q (known: %t)", row[0], row[1], value, known)
		}
		delete(want, row[0])
	}
	if len(want) > 0 {
		t.Errorf("not listed: %v", want)
	}
}

func TestSimulatorReferenceHasEveryDifference(t *testing.T) {
	var listed []rdssim.Difference
	for _, row := range rows(t, "docs/reference/simulator.md", "## Answers that differ") {
		if row[0] != "--differ" {
			listed = append(listed, rdssim.Difference(row[0]))
		}
	}
	if !slices.Equal(listed, rdssim.Differences()) {
		t.Errorf("listed are %v, known are %v", listed, rdssim.Differences())
	}
}

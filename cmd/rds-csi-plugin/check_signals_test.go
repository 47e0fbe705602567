package main

import (
	"bufio"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
)

// built is the program as an administrator runs it: signals end a process, not a function.
func built(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rds-csi-plugin")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as the image is built
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// slowToExport is an array that has a scratch volume for long enough to interrupt check.
func slowToExport(t *testing.T) (a *rdssim.Array, args []string) {
	t.Helper()
	a = simulated(t)
	if err := a.Inject(rdssim.Fault{Kind: rdssim.Delay, Match: "nvme-tcp-export=yes", Delay: 2 * time.Second}); err != nil {
		t.Fatal(err)
	}
	return a, append([]string{"check", "--kubelet-dir=/absent", "--write"}, a.DriverFlags()...)
}

func TestCheckCleansUpWhateverEndsIt(t *testing.T) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP) // under nohup the program would inherit that it is ignored
	t.Cleanup(func() { signal.Stop(hangups) })
	path := built(t)
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			a, args := slowToExport(t)
			p := program.Begin(t, path, nil, args...)
			program.Await(t, "the scratch volume", func() bool { return strings.Contains(p.Stdout.String(), "OK       create: ") })
			p.Signal(t, s)
			if code := p.Code(t); code != exitFailed || !strings.Contains(p.Stdout.String(), "failed   interrupted: ") {
				t.Errorf("exit code %d", code)
			}
			if items := a.Items(); len(items) != 1 {
				t.Errorf("left: %v", items)
			}
		})
	}
}

// As in check --write | grep -m1 create:
func TestCheckCleansUpWithNobodyToReadIt(t *testing.T) {
	path := built(t)
	a, args := slowToExport(t)
	report := filepath.Join(t.TempDir(), "report")
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, append(args, "--report="+report)...)
	cmd.Env, cmd.Stdout = program.Environ(), write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := write.Close(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(read); lines.Scan() && !strings.Contains(lines.Text(), "create: "); {
	}
	if err := read.Close(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // nothing listens for NVMe/TCP, which fails
	text, err := os.ReadFile(report)
	if code := cmd.ProcessState.ExitCode(); err != nil || code != exitFailed || !strings.Contains(string(text), "OK       clean-up: ") {
		t.Errorf("exit code %d, %v:\n%s", code, err, text)
	}
	if items := a.Items(); len(items) != 1 {
		t.Errorf("left: %v", items)
	}
}

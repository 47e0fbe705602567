package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// ErrNotInstalled says that a program is missing.
var ErrNotInstalled = errors.New("program is not installed")

// Result is what a program wrote, at most 64 KiB of each stream.
type Result struct {
	Stdout, Stderr string
}

// ExitError is a program that ran and did not end with status 0.
type ExitError struct {
	Name   string // base name
	Code   int    // exit status; 128 + signal number when a signal ended it
	Stderr string
}

// Error names the program, its status and the first lines of what it complained about.
func (e *ExitError) Error() string {
	said := firstLines(e.Stderr)
	if said == "" {
		return fmt.Sprintf("%s: exit status %d", e.Name, e.Code)
	}
	return fmt.Sprintf("%s: exit status %d: %s", e.Name, e.Code, said)
}

// stopGrace is how long a killed program may take to be gone. One that sits in the kernel
// on a dead device takes longer than any RPC may (design.md §6 rule 8) and is left behind.
const stopGrace = 2 * time.Second

// Runner runs programs.
type Runner struct {
	grace time.Duration
}

// NewRunner makes a Runner.
func NewRunner() *Runner { return &Runner{grace: stopGrace} }

// Run runs a program with LC_ALL=C and without input, in a process group of its own that is
// killed when ctx ends. The error is an *ExitError when the program ended with another status
// than 0, wraps ErrNotInstalled when it is missing, and wraps ctx.Err() when it was stopped.
func (r *Runner) Run(ctx context.Context, name string, args ...string) (result Result, err error) {
	base := filepath.Base(name)
	ctx, span := telemetry.Start(ctx, "exec "+base, telemetry.Client, telemetry.Executable(base))
	defer func() { span.End(failure(err)) }()

	var stdout, stderr boundedBuffer
	cmd := r.command(ctx, name, args)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		return Result{}, startError(base, err)
	}
	// Wait returns only when the process is gone, which a process in D state never is.
	gone := make(chan error, 1)
	go func() { gone <- cmd.Wait() }()
	select {
	case <-gone:
	case <-r.givenUp(ctx):
		return Result{}, fmt.Errorf("%s (process %d) was killed and is still there: %w", base, cmd.Process.Pid, ctx.Err())
	}
	result = Result{Stdout: stdout.String(), Stderr: stderr.String()}
	code := exitCode(cmd.ProcessState)
	span.Set(telemetry.ExitCode(code))
	return result, outcome(ctx, cmd.ProcessState, &ExitError{Name: base, Code: code, Stderr: result.Stderr})
}

func (r *Runner) command(ctx context.Context, name string, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = r.grace // a grandchild may keep the pipes open
	return cmd
}

// givenUp is closed twice the grace after ctx ended: once for the process, once for its pipes.
func (r *Runner) givenUp(ctx context.Context) <-chan struct{} {
	up := make(chan struct{})
	context.AfterFunc(ctx, func() { time.AfterFunc(2*r.grace, func() { close(up) }) })
	return up
}

// failure is err, but for what is an answer rather than a failure: a trace of a healthy call
// must show no error. The exit code is on the span all the same.
func failure(err error) error {
	if exit, ok := errors.AsType[*ExitError](err); ok && exit.Name == "blkid" && exit.Code == 2 {
		return nil // blkid(8): nothing was found
	}
	return err
}

func startError(base string, err error) error {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s: %w", base, ErrNotInstalled)
	}
	return fmt.Errorf("start %s: %w", base, err)
}

func outcome(ctx context.Context, state *os.ProcessState, failed *ExitError) error {
	switch {
	case state.Success():
		return nil
	case ctx.Err() != nil && state.ExitCode() == -1: // ended by a signal: ours
		return fmt.Errorf("%s was stopped: %w", failed.Name, ctx.Err())
	default:
		return failed
	}
}

func exitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

// firstLines is enough of a program's complaint for an error: two lines, 400 bytes.
func firstLines(s string) string {
	var said []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			said = append(said, line)
		}
		if len(said) == 2 {
			break
		}
	}
	text := strings.Join(said, "; ")
	return strings.ToValidUTF8(text[:min(len(text), 400)], "")
}

// boundedBuffer keeps the beginning of a stream and swallows the rest.
type boundedBuffer struct {
	kept []byte
}

const keptOutput = 64 << 10

func (b *boundedBuffer) Write(p []byte) (int, error) {
	room := keptOutput - len(b.kept)
	b.kept = append(b.kept, p[:min(room, len(p))]...)
	return len(p), nil
}

func (b *boundedBuffer) String() string { return string(b.kept) }

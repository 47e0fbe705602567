// Package program runs the built programs for the end-to-end tests, on this machine and in a virtual one.
package program

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a program under test.
type Process struct {
	cmd            *exec.Cmd
	Stdout, Stderr *Output
	done           chan struct{}
}

// Output is what a process has written so far.
type Output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Environ is the test's own environment without what would configure the driver or its telemetry.
func Environ(extra ...string) []string {
	var env []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "OTEL_") && !strings.HasPrefix(entry, "RDS_CSI_") {
			env = append(env, entry)
		}
	}
	return append(env, extra...)
}

// Begin starts the program at path; it is killed at the end of the test if it still runs.
func Begin(t *testing.T, path string, env []string, args ...string) *Process {
	t.Helper()
	return BeginAs(t, nil, path, env, args...)
}

// BeginAs starts it as another user; nil is the test's own.
func BeginAs(t *testing.T, user *syscall.Credential, path string, env []string, args ...string) *Process {
	t.Helper()
	p := &Process{cmd: exec.Command(path, args...), Stdout: &Output{}, Stderr: &Output{}, done: make(chan struct{})}
	p.cmd.Env = Environ(env...)
	p.cmd.Stdout, p.cmd.Stderr = p.Stdout, p.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: user}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // the exit code is looked at in Code
	}()
	t.Cleanup(func() {
		p.Kill(t)
		if t.Failed() {
			t.Logf("%v\nstdout:\n%s\nstderr:\n%s", p.cmd.Args, p.Stdout, p.Stderr)
		}
	})
	return p
}

// Running tells whether it has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// PID is its number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill ends it and what it has started with SIGKILL, and waits until it is gone.
func (p *Process) Kill(t *testing.T) {
	t.Helper()
	if !p.Running() {
		return
	}
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Errorf("kill %v: %v", p.cmd.Args, err)
	}
	p.ended(t)
}

// Code waits for the end and gives the exit code.
func (p *Process) Code(t *testing.T) int {
	t.Helper()
	if !p.ended(t) {
		t.FailNow()
	}
	return p.cmd.ProcessState.ExitCode()
}

// ended waits for the end. A process in an uninterruptible sleep is not ended by SIGKILL either.
func (p *Process) ended(t *testing.T) bool {
	t.Helper()
	select {
	case <-p.done:
		return true
	case <-time.After(Patience):
		t.Errorf("%v is still running", p.cmd.Args)
		return false
	}
}

// Signal sends it a signal, if it still runs.
func (p *Process) Signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
}

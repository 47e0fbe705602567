package k8s

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take on a busy machine.
const patience = 4 * time.Minute

// daemon is a program of the cluster that runs until it is stopped. Its output is in a file.
type daemon struct {
	name string
	args []string
	env  []string
	cmd  *exec.Cmd
	done chan struct{}
}

// start runs a program until the end of the test.
func start(t *testing.T, name string, env []string, args ...string) *daemon {
	t.Helper()
	d := &daemon{name: name, args: args, env: env}
	d.begin(t)
	t.Cleanup(func() { d.kill(t) })
	return d
}

func (d *daemon) begin(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(d.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(d.args[0], d.args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), d.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // who waits for it asks whether it runs
	}()
	d.cmd, d.done = cmd, done
}

func (d *daemon) log() string { return under("log", d.name+".log") }

func (d *daemon) kill(t *testing.T) {
	t.Helper()
	_ = d.cmd.Process.Kill() // it may have ended
	select {
	case <-d.done:
	case <-time.After(patience):
		t.Errorf("%s is still running", d.name)
	}
}

func (d *daemon) running() bool {
	select {
	case <-d.done:
		return false
	default:
		return true
	}
}

// tail is the end of its output.
func (d *daemon) tail() string {
	text, err := os.ReadFile(d.log())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-3000):])
}

// await polls until ok, and fails the test where that never comes. The last reason is told.
func await(t *testing.T, what string, ok func() (done bool, state string)) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		done, state := ok()
		if done {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: never; at last: %s", what, state)
		}
	}
}

// write makes a file below the cluster's directory.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := under(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

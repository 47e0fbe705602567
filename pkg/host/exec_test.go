package host

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRunGivesBothStreamsAndTheCLocale(t *testing.T) {
	t.Setenv("LC_ALL", "de_DE.UTF-8")
	result, err := NewRunner().Run(t.Context(), "sh", "-c", `echo "out $LC_ALL"; echo err >&2`)
	if err != nil {
		t.Fatal(err)
	}
	if result.Stdout != "out C\n" || result.Stderr != "err\n" {
		t.Errorf("result = %+v", result)
	}
}

func TestRunReportsHowAProgramEnded(t *testing.T) {
	tests := []struct {
		name, script string
		code         int
		text         string
	}{
		{"status", "echo one >&2; echo >&2; echo two >&2; echo three >&2; exit 8", 8, "sh: exit status 8: one; two"},
		{"silent", "exit 2", 2, "sh: exit status 2"},
		{"signal", "kill -SEGV $$", 128 + 11, "sh: exit status 139"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := NewRunner().Run(t.Context(), "sh", "-c", tt.script)
			failed, ok := errors.AsType[*ExitError](err)
			if !ok {
				t.Fatalf("error %v is no ExitError", err)
			}
			if failed.Code != tt.code || failed.Error() != tt.text {
				t.Errorf("code %d, text %q; want %d, %q", failed.Code, failed.Error(), tt.code, tt.text)
			}
		})
	}
}

func TestRunOfAMissingProgram(t *testing.T) {
	for _, name := range []string{"no-such-program", "/no/such/program"} {
		if _, err := NewRunner().Run(t.Context(), name); !errors.Is(err, ErrNotInstalled) {
			t.Errorf("%s: error = %v, want ErrNotInstalled", name, err)
		}
	}
}

func TestRunKeepsTheBeginningOfALongOutput(t *testing.T) {
	result, err := NewRunner().Run(t.Context(), "sh", "-c", `printf begin; head -c 300000 /dev/zero`)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Stdout) != keptOutput || !strings.HasPrefix(result.Stdout, "begin") {
		t.Errorf("kept %d bytes starting with %q", len(result.Stdout), result.Stdout[:5])
	}
}

// The end of ctx kills the grandchild too: a mkfs below a wrapper must not go on alone.
func TestRunKillsTheWholeGroupWhenTheContextEnds(t *testing.T) {
	pidFile := t.TempDir() + "/pid"
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := NewRunner().Run(ctx, "sh", "-c", `sh -c 'echo $$ > "$0.new"; mv "$0.new" "$0"; exec sleep 600' "$0" & wait`, pidFile)
		ended <- err
	}()
	pid := waitForPid(t, pidFile)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want context.Canceled", err)
	}
	waitFor(t, "the grandchild is gone", func() bool { return !running(pid) })
}

// A program that cannot be waited for (here: its stand-in closes nothing and has a session of
// its own) does not hold the caller.
func TestRunReturnsAlthoughAProcessKeepsThePipesOpen(t *testing.T) {
	pidFile := t.TempDir() + "/pid"
	ctx, cancel := context.WithCancel(t.Context())
	runner := &Runner{grace: 10 * time.Millisecond}
	ended := make(chan error, 1)
	go func() {
		_, err := runner.Run(ctx, "setsid", "--wait", "sh", "-c", `echo $$ > "$0.new"; mv "$0.new" "$0"; exec sleep 600`, pidFile)
		ended <- err
	}()
	pid := waitForPid(t, pidFile)
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error = %v, want context.Canceled", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Run still waits")
	}
}

func TestRunDoesNotStartAfterTheContextEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	marker := t.TempDir() + "/ran"
	if _, err := NewRunner().Run(ctx, "touch", marker); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want context.Canceled", err)
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("the program ran")
	}
}

func waitForPid(t *testing.T, file string) int {
	t.Helper()
	var pid int
	waitFor(t, "the program wrote its process id", func() bool {
		text, err := os.ReadFile(file)
		if err != nil {
			return false
		}
		pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err == nil
	})
	return pid
}

// running is false for a zombie that nobody has reaped yet.
func running(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(text), ") Z ")
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		case <-tick.C:
		}
	}
}

package k8s

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// tryRun runs a program with the administrator's kubeconfig, and gives what it writes to stdout.
func tryRun(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience) // also at the end of a test
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var out, problems bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &problems
	cmd.Env = append(os.Environ(), "KUBECONFIG="+under("admin.conf"), "HOME="+under())
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(problems.String()))
	}
	return out.String(), nil
}

func run(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, err := tryRun(t, stdin, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func tryKubectl(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	return tryRun(t, stdin, append([]string{built("kubectl")}, args...)...)
}

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, "", append([]string{built("kubectl")}, args...)...)
}

// waitFor is kubectl wait. It describes what did not come so far.
func waitFor(t *testing.T, object, condition string, more ...string) {
	t.Helper()
	// An object that is not there yet is an error at once.
	await(t, object+" is there", func() (bool, string) {
		_, err := tryKubectl(t, "", append([]string{"get", object}, more...)...)
		return err == nil, fmt.Sprint(err)
	})
	if _, err := tryKubectl(t, "", append([]string{"wait", object, "--for=" + condition, "--timeout=200s"}, more...)...); err != nil {
		description, _ := tryKubectl(t, "", append([]string{"describe", object}, more...)...)
		t.Fatalf("%v\n%s", err, description)
	}
}

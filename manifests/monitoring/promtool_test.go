package monitoring

import (
	"os/exec"
	"testing"
)

// promtool runs it, where it is installed. (Debian has it in the package prometheus.)
func promtool(t *testing.T, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Logf("promtool %v: left out, promtool is not installed", args)
		return
	}
	if out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %v: %v\n%s", args, err, out)
	}
}

func TestPromtoolAcceptsTheRules(t *testing.T) {
	promtool(t, "check", "rules", "--lint-fatal", "rules.yaml")
}

func TestTheRulesUnitTests(t *testing.T) {
	promtool(t, append([]string{"test", "rules"}, testFiles(t)...)...)
}

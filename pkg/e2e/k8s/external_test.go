package k8s

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What is skipped of the upstream suite, with reasons: docs/reference/storage-suite.md.
const (
	suiteFocus = `External.Storage`
	suiteSkip  = `\[Disruptive\]|\[Serial\]|\[Slow\]`
	suiteTime  = 25 * time.Minute
	suiteLeast = 40 // tests that have to run: 45 fit the driver's abilities in testdata/suite/driver.yaml
)

// external runs the upstream suite that tests a CSI driver from outside, six of its tests at a time.
func (s *suite) external(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), suiteTime)
	defer cancel()
	driver, err := filepath.Abs("testdata/suite/driver.yaml")
	if err != nil {
		t.Fatal(err)
	}
	images, err := filepath.Abs("testdata/suite/images.yaml")
	if err != nil {
		t.Fatal(err)
	}
	focus, least := suiteFocus, suiteLeast
	if more := os.Getenv("RDS_E2E_SUITE"); more != "" {
		focus, least = focus+".*"+more, 1
	}
	log, err := os.Create(under("log", "external-storage.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, built("ginkgo"), "--procs=6", "--no-color", "--timeout="+suiteTime.String(), "--focus="+focus, "--skip="+suiteSkip, built("e2e.test"),
		"--", "--kubeconfig="+under("admin.conf"), "--provider=local", "--kubectl-path="+built("kubectl"), "--storage.testdriver="+driver,
		"--report-dir="+under("log"), "--allowed-not-ready-nodes=0", "--delete-namespace-on-failure=false")
	cmd.Dir = under()
	cmd.Env = append(os.Environ(), "KUBE_TEST_REPO_LIST="+images)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.WaitDelay = time.Minute
	err = cmd.Run()
	text, readErr := os.ReadFile(log.Name())
	if readErr != nil {
		t.Fatal(readErr)
	}
	judge(t, string(text), err, least)
	s.array.agrees(t)
}

var (
	ran    = regexp.MustCompile(`Ran (\d+) of \d+ Specs in .*`)
	failed = regexp.MustCompile(`(?m)^ *\[(?:FAIL|TIMEDOUT|PANICKED|INTERRUPTED)\] .*$`)
)

// judge wants that at least so many tests ran, and that none failed.
func judge(t *testing.T, text string, err error, least int) {
	t.Helper()
	m := ran.FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("the suite did not end (%v):\n%s", err, text[max(0, len(text)-5000):])
	}
	t.Log(m[0])
	if n, parseErr := strconv.Atoi(m[1]); parseErr != nil || n < least {
		t.Errorf("%s tests ran, want %d or more (%v)", m[1], least, err)
	}
	if bad := failed.FindAllString(text, -1); len(bad) > 0 || err != nil {
		t.Errorf("%v; the log has it all:\n%s", err, strings.Join(bad, "\n"))
	}
}

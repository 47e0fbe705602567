package vm

import (
	"os"
	"strings"
	"testing"
	"time"
)

// kernels are those of the guest: the one of Debian 12, and the newest long-term one there.
func kernels() []string { return []string{"6.1", newest} }

const newest = "6.12"

// onlyInFull are tests that run with RDS_E2E_FULL only: the mount contract takes some minutes, and runs on
// loop devices in the unit tests.
const onlyInFull = "^TestMountContract"

// onlyOnTheNewest are tests that take long and are about our own code more than about a kernel's. Short of
// the full run the newest kernel is enough for them.
const onlyOnTheNewest = "^TestManyVolumes|^TestWhatNodeStageCosts|^TestAlertsSee"

// timed are tests that fail when something takes too long, or that kill by the clock. What they see is the
// driver's doing only while no other guest takes its share of the processor.
const timed = "^TestManyVolumes|^TestWhatNodeStageCosts|^TestAlertsSee|^TestALostDevice|^TestAnArrayReboot|^TestARunningContainer|" +
	"^TestUnstageOfADeadTarget|^TestPluginIsKilled|^TestKilledAtAnyMoment"

// none is a pattern that no test's name matches.
const none = "^$"

// machineOf is a guest without tests.
func machineOf(kernel string) guest {
	return guest{
		name: kernel, kernel: kernel, memory: 3072, limit: 30 * time.Minute,
		env: []string{"RDS_E2E_FULL=" + os.Getenv("RDS_E2E_FULL"), "RDS_E2E_SEED=" + os.Getenv("RDS_E2E_SEED")},
	}
}

// suite is a guest that runs the tests that need one machine: those that match run, without those that match skip.
func suite(kernel, run, skip string) guest {
	skip += "|^TestPair|^TestTrouble$"
	if os.Getenv("RDS_E2E_FULL") == "" && os.Getenv("RDS_E2E_RUN") == "" {
		skip += "|" + onlyInFull
		if kernel != newest {
			skip += "|" + onlyOnTheNewest
		}
	}
	g := machineOf(kernel)
	g.tests = []string{"-test.run=" + run, "-test.skip=" + skip}
	return g
}

// TestTimed runs alone: go test begins no parallel test before those that are not have ended.
func TestTimed(t *testing.T) {
	if os.Getenv("RDS_E2E_RUN") != "" {
		t.Skip("TestSuite runs what RDS_E2E_RUN names")
	}
	for _, kernel := range kernels() {
		t.Run(kernel, func(t *testing.T) { boot(t, suite(kernel, timed, none)).wait(t) })
	}
}

// TestSuite runs what TestTimed does not, or what RDS_E2E_RUN names. Its kernels are parallel and it is not: the
// longest ones come first, so that no guest is alone at the end.
func TestSuite(t *testing.T) {
	run, skip := os.Getenv("RDS_E2E_RUN"), timed
	if run != "" {
		skip = none
	}
	for _, kernel := range kernels() {
		t.Run(kernel, func(t *testing.T) {
			t.Parallel()
			boot(t, suite(kernel, run, skip)).wait(t)
		})
	}
}

// Without native multipath a disk hangs off its controller, and each controller has one of its own.
func TestWithoutMultipath(t *testing.T) {
	t.Parallel()
	for _, kernel := range kernels() {
		t.Run(kernel, func(t *testing.T) {
			g := machineOf(kernel)
			g.name += "-without-multipath"
			g.parameters = []string{"nvme_core.multipath=N"}
			g.tests = []string{"-test.run=^TestNVMe"}
			boot(t, g).wait(t)
		})
	}
}

// A harness that does not see trouble makes all that runs in it worthless.
func TestTroubleInTheGuestIsSeen(t *testing.T) {
	t.Parallel()
	for kind, says := range map[string][]string{
		"fail":      {"exit code 1", "TestTrouble"},
		"exit":      {"exit code 7"},
		"hang":      {"still running", "without an exit code"},
		"panic":     {"without an exit code", "sysrq triggered crash", "the kernel said"},
		"reboot":    {"without an exit code"},
		"complaint": {"the kernel said", "WARNING: as wanted"},
	} {
		t.Run(kind, func(t *testing.T) {
			g := machineOf("6.1")
			g.name += "-" + kind
			g.tests, g.env = []string{"-test.run=^TestTrouble$"}, []string{"RDS_E2E_TROUBLE=" + kind}
			if kind == "hang" {
				g.limit = 15*time.Second + graceAtEnd
			}
			m := boot(t, g)
			if kind == "hang" {
				m.limit = 15 * time.Second
			}
			problems := strings.Join(m.problems(t), "\n")
			for _, want := range says {
				if !strings.Contains(problems, want) {
					t.Errorf("no %q in the problems:\n%s", want, problems)
				}
			}
			if kind == "fail" && strings.Contains(problems, "the kernel said") {
				t.Errorf("the kernel is blamed for a test that fails:\n%s", problems)
			}
		})
	}
}

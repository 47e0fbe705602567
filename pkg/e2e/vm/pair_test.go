package vm

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pair boots two guests with a network of their own between them: 10.77.0.1 and 10.77.0.2. Both run the
// test, and learn from RDS_E2E_STATION which of the two they are. RDS_E2E_RUN picks from its subtests.
func pair(t *testing.T, kernel, test string, parameters ...string) {
	t.Helper()
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var machines []*machine
	for i, end := range ends {
		g := machineOf(kernel)
		g.station, g.link = i+1, os.NewFile(uintptr(end), "link")
		t.Cleanup(func() { _ = g.link.Close() }) // each qemu has its own
		g.name += "-" + strings.TrimPrefix(test, "TestPair") + "-" + strconv.Itoa(g.station)
		g.parameters = parameters
		if os.Getenv("RDS_E2E_FULL") != "" {
			g.limit = time.Hour
		}
		g.tests = []string{"-test.run=^" + test + "$/" + os.Getenv("RDS_E2E_RUN")}
		g.env = append(g.env, "RDS_E2E_STATION="+strconv.Itoa(g.station))
		machines = append(machines, launch(t, g))
	}
	for i, m := range machines {
		machines[i] = m.steady(t)
	}
	for _, m := range machines {
		m.wait(t)
	}
}

func TestPairIsConnected(t *testing.T) {
	t.Parallel()
	pair(t, "6.1", "TestPairIsConnected")
}

package e2e

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/godbus/dbus/v5"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
)

const login1 = "org.freedesktop.login1"

// startBus runs a message bus of the test's own, and gives its address.
func startBus(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("dbus-daemon"); err != nil {
		t.Skipf("a real message bus is needed: %v (scripts/program says so)", err)
	}
	dir := t.TempDir()
	config, address := filepath.Join(dir, "bus.conf"), "unix:path="+filepath.Join(dir, "socket")
	text := fmt.Sprintf(`<busconfig><listen>%s</listen><auth>EXTERNAL</auth><policy context="default">
<allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>`, address)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command("dbus-daemon", "--config-file="+config, "--nofork", "--print-address")
	out, err := daemon.StdoutPipe()
	if err == nil {
		err = daemon.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Kill()
		_ = daemon.Wait() // killed
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(line, address) {
		t.Fatalf("dbus-daemon printed %q, %v", line, err)
	}
	return address
}

func startNode(t *testing.T, env ...string) *program.Process {
	t.Helper()
	dir := t.TempDir()
	p := program.Begin(t, built("rds-csi-plugin"), env, "--node", "--cluster-id=e2e", "--node-id=node-1", "--plugin-dir="+dir,
		"--endpoint=unix://"+filepath.Join(dir, "csi.sock"), "--metrics-address=")
	program.Await(t, "the driver serves", func() bool { return strings.Contains(p.Stderr.String(), "serving CSI") })
	return p
}

func stop(t *testing.T, p *program.Process) {
	t.Helper()
	p.Signal(t, syscall.SIGTERM)
	if code := p.Code(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestANodeHearsOfItsShutdown(t *testing.T) {
	address := startBus(t)
	logind, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = logind.Close() })
	if _, err := logind.RequestName(login1, dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
	p := startNode(t, "DBUS_SYSTEM_BUS_ADDRESS="+address)
	program.Await(t, "it listens", func() bool { return strings.Contains(p.Stderr.String(), "shutdown is watched for") })
	for _, step := range []struct {
		begun bool
		says  string
	}{{true, "this node shuts down"}, {false, "shutdown was called off"}} {
		if err := logind.Emit("/org/freedesktop/login1", login1+".Manager.PrepareForShutdown", step.begun); err != nil {
			t.Fatal(err)
		}
		program.Await(t, step.says, func() bool { return strings.Contains(p.Stderr.String(), step.says) })
	}
	stop(t, p)
}

func TestANodeServesWithoutTheSystemBus(t *testing.T) {
	p := startNode(t, "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nonexistent/socket")
	program.Await(t, "it says so", func() bool { return strings.Contains(p.Stderr.String(), "the system bus is not mounted") })
	stop(t, p)
}

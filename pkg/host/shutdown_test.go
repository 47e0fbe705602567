package host_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

const (
	login1   = "org.freedesktop.login1"
	login1At = dbus.ObjectPath("/org/freedesktop/login1")
	announce = login1 + ".Manager.PrepareForShutdown"
)

// bus is a real dbus-daemon with an address of its own.
type bus struct {
	path   string
	config string
	daemon *exec.Cmd
}

// Signals may be sent by everybody, and to anybody, as on a system bus.
const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy>
</busconfig>
`

func newBus(t *testing.T) *bus {
	t.Helper()
	if _, err := exec.LookPath("dbus-daemon"); err != nil {
		t.Skipf("a real message bus is needed: %v (scripts/unit says so)", err)
	}
	dir := t.TempDir()
	b := &bus{path: filepath.Join(dir, "socket"), config: filepath.Join(dir, "bus.conf")}
	if err := os.WriteFile(b.config, fmt.Appendf(nil, busConfig, b.path), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.stop(t) })
	return b
}

func (b *bus) address() string { return "unix:path=" + b.path }

// start returns once the bus listens: it prints its address then.
func (b *bus) start(t *testing.T) {
	t.Helper()
	b.daemon = exec.Command("dbus-daemon", "--config-file="+b.config, "--nofork", "--print-address")
	out, err := b.daemon.StdoutPipe()
	if err == nil {
		err = b.daemon.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.Contains(line, b.path) {
		t.Fatalf("dbus-daemon printed %q, %v", line, err)
	}
}

// stop ends the bus and takes its socket away.
func (b *bus) stop(t *testing.T) {
	t.Helper()
	if b.daemon == nil {
		return
	}
	if err := b.daemon.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = b.daemon.Wait() // killed
	b.daemon = nil
	if err := os.Remove(b.path); err != nil {
		t.Error(err)
	}
}

func (b *bus) connect(t *testing.T) *dbus.Conn {
	t.Helper()
	conn, err := dbus.Connect(b.address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // its bus may be gone already
	return conn
}

// logind is a stand-in for the real one: it owns its name and answers for its property.
type logind struct {
	*dbus.Conn
	preparing atomic.Bool
}

func (b *bus) logind(t *testing.T, preparing bool) *logind {
	t.Helper()
	l := &logind{Conn: b.connect(t)}
	l.preparing.Store(preparing)
	if err := l.Export(l, login1At, "org.freedesktop.DBus.Properties"); err != nil {
		t.Fatal(err)
	}
	l.own(t)
	return l
}

func (l *logind) own(t *testing.T) {
	t.Helper()
	if reply, err := l.RequestName(login1, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatalf("own %s: %v, %v", login1, reply, err)
	}
}

// Get is org.freedesktop.DBus.Properties.Get.
func (l *logind) Get(iface, name string) (dbus.Variant, *dbus.Error) {
	if iface != login1+".Manager" || name != "PreparingForShutdown" {
		return dbus.Variant{}, dbus.MakeFailedError(errors.New("no such property"))
	}
	return dbus.MakeVariant(l.preparing.Load()), nil
}

func (l *logind) announce(t *testing.T, begun bool) {
	t.Helper()
	l.preparing.Store(begun)
	if err := l.Emit(login1At, announce, begun); err != nil {
		t.Fatal(err)
	}
}

// watch runs a Logind until the end of the test.
func watch(t *testing.T, address string) (<-chan bool, *observer.ObservedLogs) {
	t.Helper()
	goroutines := goleak.IgnoreCurrent()
	core, logs := observer.New(zap.InfoLevel)
	told := make(chan bool)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		host.NewLogind(address, zap.New(core)).Watch(ctx, told)
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Error("Watch goes on after the end of its context")
		}
		goleak.VerifyNone(t, goroutines)
	})
	return told, logs
}

func wantTold(t *testing.T, told <-chan bool, what string, want bool) {
	t.Helper()
	select {
	case got := <-told:
		if got != want {
			t.Fatalf("%s: told %v", what, got)
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("%s: told nothing", what)
	}
}

// awaitTold passes over what else may be told: whether a Logind finds the bus before or after an
// announcement is open.
func awaitTold(t *testing.T, told <-chan bool, what string, want bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case got := <-told:
			if got == want {
				return
			}
		case <-deadline:
			t.Fatalf("%s: not told", what)
		}
	}
}

func wantLine(t *testing.T, logs *observer.ObservedLogs, part string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		for _, line := range logs.All() {
			if strings.Contains(line.Message, part) {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("no line says %q: %v", part, logs.All())
		}
	}
}

func TestLogindTellsOfAShutdownAndItsEnd(t *testing.T) {
	b := newBus(t)
	b.start(t)
	l := b.logind(t, false)
	told, _ := watch(t, b.address())
	wantTold(t, told, "at the start", false)
	l.announce(t, true)
	wantTold(t, told, "it begins", true)
	l.announce(t, false)
	wantTold(t, told, "it is called off", false)
}

func TestLogindTellsOfAShutdownThatHasBegunBefore(t *testing.T) {
	b := newBus(t)
	b.start(t)
	b.logind(t, true)
	told, _ := watch(t, b.address())
	wantTold(t, told, "at the start", true)
}

// An announcement that anybody else makes is ignored, sent to all or to us alone.
func TestLogindIsNobodyElse(t *testing.T) {
	b := newBus(t)
	b.start(t)
	l := b.logind(t, false)
	told, _ := watch(t, b.address())
	wantTold(t, told, "at the start", false)

	forger := b.connect(t)
	var all []string
	if err := forger.BusObject().Call("org.freedesktop.DBus.ListNames", 0).Store(&all); err != nil {
		t.Fatal(err)
	}
	if err := forger.Emit(login1At, announce, true); err != nil {
		t.Fatal(err)
	}
	sent := 0
	for _, name := range all {
		if strings.HasPrefix(name, ":") {
			forger.Send(signalTo(name, true), nil)
			sent++
		}
	}
	if sent < 3 {
		t.Fatalf("sent to %d of %q", sent, all)
	}
	// Once the bus has answered, it has passed on what came before.
	if err := forger.BusObject().Call("org.freedesktop.DBus.GetId", 0).Err; err != nil {
		t.Fatal(err)
	}
	for _, other := range []struct {
		path dbus.ObjectPath
		name string
		args []any
	}{
		{login1At, login1 + ".Manager.PrepareForSleep", []any{true}},
		{"/org/freedesktop/other", announce, []any{true}},
		{login1At, announce, []any{"true"}},
		{login1At, announce, nil},
	} {
		if err := l.Emit(other.path, other.name, other.args...); err != nil {
			t.Fatal(err)
		}
	}
	l.announce(t, false)
	wantTold(t, told, "after what is not meant", false)
}

func signalTo(destination string, begun bool) *dbus.Message {
	return &dbus.Message{
		Type: dbus.TypeSignal,
		Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldDestination: dbus.MakeVariant(destination), dbus.FieldPath: dbus.MakeVariant(login1At),
			dbus.FieldInterface: dbus.MakeVariant(login1 + ".Manager"), dbus.FieldMember: dbus.MakeVariant("PrepareForShutdown"),
			dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(begun)),
		},
		Body: []any{begun},
	}
}

func TestLogindSurvivesARestartOfTheBus(t *testing.T) {
	b := newBus(t)
	b.start(t)
	b.logind(t, false)
	told, logs := watch(t, b.address())
	wantTold(t, told, "at the start", false)
	b.stop(t)
	wantLine(t, logs, "the system bus cannot be watched")
	b.start(t)
	l := b.logind(t, false)
	l.announce(t, true)
	awaitTold(t, told, "it begins", true)
	l.announce(t, false)
	awaitTold(t, told, "it is called off", false)
}

// Without its socket one line is logged, however often it is tried.
func TestLogindWithoutABus(t *testing.T) {
	b := newBus(t)
	told, logs := watch(t, b.address())
	wantLine(t, logs, "the system bus is not mounted")
	b.start(t)
	b.logind(t, false).announce(t, true)
	awaitTold(t, told, "it begins", true)
	if n := logs.FilterLevelExact(zap.WarnLevel).FilterMessageSnippet("the system bus").Len(); n != 1 {
		t.Errorf("%d lines: %v", n, logs.All())
	}
}

func TestLogindThatComesLater(t *testing.T) {
	b := newBus(t)
	b.start(t)
	told, logs := watch(t, b.address())
	wantLine(t, logs, "logind does not say")
	b.logind(t, false).announce(t, true)
	wantTold(t, told, "it begins", true)
}

func TestLogindOnABusThatDoesNotAnswer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var conn net.Conn
	t.Cleanup(func() { _, _ = conn.Close(), listener.Close() }) // after Watch has ended
	watch(t, "unix:path="+path)                                 // ends with the test, or fails it
	if conn, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
}

func TestLogindOnABusThatRefuses(t *testing.T) {
	_, logs := watch(t, "nonsense")
	wantLine(t, logs, "the system bus cannot be watched")
}

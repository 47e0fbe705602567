package rdssim

import (
	"bufio"
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

func TestTheBannerNamesNoVersion(t *testing.T) {
	conn, err := net.Dial("tcp", start(t, Options{}).SSHAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	banner, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || strings.TrimSpace(banner) != "SSH-2.0-ROSSSH" {
		t.Errorf("banner %q, %v", banner, err)
	}
}

func TestOnlyExecIsServed(t *testing.T) {
	client := dial(t, start(t, Options{}))
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if err := session.RequestPty("vt100", 80, 24, nil); err == nil {
		t.Error("a terminal was granted")
	}
	if err := session.Shell(); err == nil {
		t.Error("a shell was granted")
	}
	if _, _, err := client.OpenChannel("direct-tcpip", nil); err == nil {
		t.Error("forwarding was granted")
	}
	if out, err := remote(client, `:put ok`); err != nil || out != "ok\r\n" {
		t.Errorf("exec afterwards: %q, %v", out, err)
	}
}

func TestErrorsAreTextOnStdout(t *testing.T) {
	client := dial(t, start(t, Options{}))
	for range 10 {
		out, err := remote(client, "/disk prnt\n:local x 5\n:put \"x=$x\"\n/disk get none slot")
		if want := "bad command name prnt (line 1 column 7)\r\nx=\r\nno such item\r\n"; out != want {
			t.Fatalf("got %q, want %q", out, want)
		}
		if exit, ok := errors.AsType[*ssh.ExitError](err); err != nil && (!ok || exit.ExitStatus() != 1) {
			t.Fatal(err)
		}
	}
}

func TestTheExitStatusLies(t *testing.T) {
	client := dial(t, start(t, Options{Seed: 1}))
	statuses := map[bool]int{}
	for range 40 {
		_, err := remote(client, `/disk get none slot`)
		statuses[err == nil]++
		if _, err := remote(client, "/disk get none slot\n:put end"); err != nil {
			t.Fatalf("a good last line: %v", err)
		}
	}
	if statuses[true] == 0 || statuses[false] == 0 {
		t.Errorf("failures with status 0 and not: %v", statuses)
	}
}

func TestKeepalivesAreNotAnswered(t *testing.T) {
	client := dial(t, start(t, Options{}))
	answered := make(chan error, 1)
	go func() {
		_, _, err := client.SendRequest("keepalive@openssh.com", true, nil)
		answered <- err
	}()
	// The exec comes after the request on the same connection.
	if out, err := remote(client, `:put ok`); err != nil || out != "ok\r\n" {
		t.Errorf("exec: %q, %v", out, err)
	}
	select {
	case err := <-answered:
		t.Errorf("answered: %v", err)
	default:
	}
	_ = client.Close()
	<-answered
}

func TestOtherUsersAndKeysAreRefused(t *testing.T) {
	a, other := start(t, Options{}), start(t, Options{})
	for _, tt := range []struct{ user, keyFile string }{{"admin", a.ClientKeyFile()}, {"csi", other.ClientKeyFile()}} {
		text, err := os.ReadFile(tt.keyFile)
		if err != nil {
			t.Fatal(err)
		}
		key, err := ssh.ParsePrivateKey(text)
		if err != nil {
			t.Fatal(err)
		}
		_, err = ssh.Dial("tcp", a.SSHAddr(), &ssh.ClientConfig{
			User: tt.user, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
		})
		if err == nil {
			t.Errorf("%s with %s got in", tt.user, tt.keyFile)
		}
	}
}

func TestTheClientKeyIsPrivate(t *testing.T) {
	a := start(t, Options{HostKeyType: "rsa"})
	info, err := os.Stat(a.ClientKeyFile())
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	public, err := os.ReadFile(a.HostKeyFile())
	if err != nil || !strings.HasPrefix(string(public), "ssh-rsa ") {
		t.Errorf("host key %.20s, %v", public, err)
	}
	if !strings.HasPrefix(a.HostKeyFingerprint(), "SHA256:") {
		t.Errorf("fingerprint %s", a.HostKeyFingerprint())
	}
	dial(t, a)
}

func TestSessionsAreBoundedAndCounted(t *testing.T) {
	a := start(t, Options{MaxSessions: 2})
	client := dial(t, a)
	var open []*ssh.Session
	for range 2 {
		s, err := client.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, s)
	}
	if _, err := client.NewSession(); err == nil {
		t.Error("a third session opened")
	}
	for _, s := range open {
		_ = s.Close()
	}
	eventually(t, "a session is free", func() bool {
		_, err := remote(client, `:put ok`)
		return err == nil
	})
	if a.PeakSessions() != 3 && a.PeakSessions() != 2 {
		t.Errorf("peak %d", a.PeakSessions())
	}
}

func TestASerialClientNeverHasTwoSessions(t *testing.T) {
	a := start(t, Options{})
	client := dial(t, a)
	for range 200 {
		if _, err := remote(client, `:put ok`); err != nil {
			t.Fatal(err)
		}
	}
	if a.PeakSessions() != 1 || a.Execs() != 200 || a.Dials() != 1 {
		t.Errorf("peak %d, execs %d, dials %d", a.PeakSessions(), a.Execs(), a.Dials())
	}
	if log := a.Transcript(); len(log) != 200 || log[7].Command != `:put ok` || log[7].Output != "ok\r\n" {
		t.Errorf("transcript of %d", len(log))
	}
}

func TestTheTranscriptIsBounded(t *testing.T) {
	a := start(t, Options{})
	for i := range 20 {
		a.remember(Exec{Command: strconv.Itoa(i), Output: strings.Repeat("x", 1<<20)})
	}
	log := a.Transcript()
	if len(log) != 15 || log[0].Command != "5" || log[14].Command != "19" {
		t.Errorf("%d execs from %s", len(log), log[0].Command)
	}
}

func TestExecsInterleaveBetweenCommands(t *testing.T) {
	a := start(t, Options{})
	volume(t, a, "one")
	// A loop that waits for another exec's change ends only if execs mix.
	waiting := make(chan string, 1)
	go func() {
		waiting <- a.Run(t.Context(), `:while ([/disk get one comment] != "go") do={}; :put seen`)
	}()
	quiet(t, a, `/disk set one comment=go`)
	if got := <-waiting; got != "seen\r\n" {
		t.Errorf("got %q", got)
	}
}

func TestOneCommandIsAtomic(t *testing.T) {
	a := start(t, Options{})
	volume(t, a, "one")
	var wg sync.WaitGroup
	for _, host := range []string{"a", "b"} {
		wg.Go(func() {
			for range 200 {
				quiet(t, a, `/disk set one comment=`+host+` nvme-tcp-server-nqn=nqn.`+host+` nvme-tcp-server-allow-host-name=`+host+` nvme-tcp-export=yes`)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for {
		row := a.Run(t.Context(), `:local r [/disk print detail as-value where slot=one]; :put (($r->0->"comment") . ($r->0->"nvme-tcp-server-nqn") . ($r->0->"nvme-tcp-server-allow-host-name"))`)
		if row != "\r\n" && row != "anqn.aa\r\n" && row != "bnqn.bb\r\n" {
			t.Fatalf("half of a set: %q", row)
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

func TestLatencyCountsOncePerExec(t *testing.T) {
	a := start(t, Options{Latency: 200 * time.Millisecond})
	client := dial(t, a)
	fastest := time.Hour // of some tries, as the machine may be busy
	for range 5 {
		began := time.Now()
		if _, err := remote(client, ":put 1\n:put 2\n:put 3"); err != nil {
			t.Fatal(err)
		}
		if fastest = min(fastest, time.Since(began)); fastest < 600*time.Millisecond {
			break
		}
	}
	if fastest < 200*time.Millisecond || fastest >= 600*time.Millisecond {
		t.Errorf("took %v", fastest)
	}
}

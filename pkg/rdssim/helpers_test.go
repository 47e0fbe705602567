package rdssim

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/goldentest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs an array for the test.
func start(t testing.TB, opts Options) *Array {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	a, err := Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return a
}

// say runs console text that must print exactly want.
func say(t testing.TB, a *Array, text, want string) {
	t.Helper()
	if got := a.Run(t.Context(), text); got != want {
		t.Fatalf("%s\n got %q\nwant %q", text, got, want)
	}
}

// quiet runs console text that must print nothing.
func quiet(t testing.TB, a *Array, lines ...string) {
	t.Helper()
	for _, line := range lines {
		say(t, a, line, "")
	}
}

// dial connects as the configured user.
func dial(t testing.TB, a *Array) *ssh.Client {
	t.Helper()
	client, err := tryDial(t, a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func tryDial(t testing.TB, a *Array) (*ssh.Client, error) {
	t.Helper()
	text, err := os.ReadFile(a.ClientKeyFile())
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	public, err := os.ReadFile(a.HostKeyFile())
	if err != nil {
		t.Fatal(err)
	}
	host, _, _, _, err := ssh.ParseAuthorizedKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return ssh.Dial("tcp", a.SSHAddr(), &ssh.ClientConfig{
		User: "csi", Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.FixedHostKey(host), Timeout: 10 * time.Second,
	})
}

// remote runs one exec over SSH.
func remote(client *ssh.Client, text string) (string, error) {
	session, err := client.NewSession()
	if err != nil {
		return "", err
	}
	defer session.Close()
	out, err := session.Output(text)
	return string(out), err
}

// eventually polls until the condition holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("still not so: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

var (
	anyUUID  = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	anyStamp = regexp.MustCompile(`20\d\d-\d\d-\d\d \d\d:\d\d:\d\d`)
)

// golden compares with testdata/name; what differs between runs is replaced by
// something of the same length, and CRs are made visible.
func golden(t *testing.T, name, got string) {
	t.Helper()
	got = anyUUID.ReplaceAllString(got, "00000000-0000-4000-8000-000000000000")
	got = anyStamp.ReplaceAllString(got, "2026-01-02 03:04:05")
	got = strings.ReplaceAll(got, "\r\n", "<CR>\n")
	goldentest.Compare(t, filepath.Join("testdata", name), got)
}

// volume adds a file disk of one GiB.
func volume(t testing.TB, a *Array, slot string) {
	t.Helper()
	quiet(t, a,
		`/file add name="storage-pool/`+slot+`" type=directory`,
		`/disk add type=file slot="`+slot+`" file-path="/storage-pool/`+slot+`/disk.img" file-size=1G mount-filesystem=no`)
}

func listens(t *testing.T, address string) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

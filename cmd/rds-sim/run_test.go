package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// safeBuffer is written by the program and read by the test.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestWrongFlagsAreOneSentenceWithTheFix(t *testing.T) {
	tests := []struct{ args, want string }{
		{"", "flag --dir is missing: give it the directory for the array's files"},
		{"--dir x extra", `unexpected argument "extra": every setting is a flag, rds-sim --help lists them`},
		{"--dir x --colour red", "flag provided but not defined: -colour; rds-sim --help lists the flags"},
		{"--dir x --latency -1s", "flag --latency is negative: give it a duration such as 20ms"},
		{"--dir x --latency soon", `invalid value "soon" for flag -latency: parse error; rds-sim --help lists the flags`},
		{"--dir x --control-address 0.0.0.0:80", `flag --control-address "0.0.0.0:80" is not on loopback: use 127.0.0.1:0, or leave it empty`},
		{"--dir x --control-address nonsense", `flag --control-address "nonsense" is not on loopback: use 127.0.0.1:0, or leave it empty`},
		{"--dir x --ssh-address 22", `flag --ssh-address "22" is not HOST:PORT: use an address such as 127.0.0.1:0`},
		{"--dir x --nvme-address here", `flag --nvme-address "here" is not HOST:PORT: use an address such as 127.0.0.1:4420`},
		{"--dir x --version seven", `flag --version: version "seven": want MAJOR.MINOR[.PATCH], such as 7.24.4`},
		{"--dir x --export iscsi", `flag --export: export "iscsi" is not nvmet or none`},
		{"--dir x --pool a:zfs:1G", `invalid value "a:zfs:1G" for flag -pool: pool a: file system "zfs" is not btrfs, xfs or ext4; rds-sim --help lists the flags`},
		{"--dir x --pool a:xfs:1G --pool a:xfs:2G", "flag --pool: pool a is given twice"},
		{"--dir x --host-key-type dsa", `flag --host-key-type: host key type "dsa" is not ed25519 or rsa`},
	}
	for _, tt := range tests {
		var out bytes.Buffer
		err := run(t.Context(), strings.Fields(tt.args), &out, &out)
		if _, wrong := errors.AsType[usageError](err); !wrong || err.Error() != tt.want {
			t.Errorf("%s\n got %v\nwant %s", tt.args, err, tt.want)
		}
		if out.Len() > 0 {
			t.Errorf("%s prints %q", tt.args, out.String())
		}
	}
}

func TestHelpListsTheFlags(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"--help"}, &out, &out); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{"-dir", "-ssh-address", "-nvme-address", "-export", "-version", "-latency", "-pool", "-user", "-control-address"} {
		if !strings.Contains(out.String(), "  "+name+" ") {
			t.Errorf("no %s in\n%s", name, out.String())
		}
	}
}

func TestItServesUntilItIsToldToStop(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "array")
	ctx, cancel := context.WithCancel(t.Context())
	var stdout, stderr safeBuffer
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"--dir", dir, "--pool", "fast:xfs:1G", "--pool", "slow:ext4:2G", "--nvme-address", "127.0.0.1:4499"}, &stdout, &stderr)
	}()
	poll(t, func() bool { return strings.Contains(stdout.String(), "driver:") })

	address := regexp.MustCompile(`ssh console: (\S+)`).FindStringSubmatch(stdout.String())[1]
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	want := "rds-csi-plugin --controller --rds-address " + host + " --rds-port " + port + " --rds-user csi --rds-key-file " + dir +
		"/client_key --rds-host-key " + dir + "/host_key.pub --rds-pool fast --nvme-address 127.0.0.1 --nvme-port 4499\n"
	if !strings.Contains(stdout.String(), want) {
		t.Errorf("no %q in %q", want, stdout.String())
	}
	for _, name := range []string{"client_key", "host_key.pub", "pools/fast", "pools/slow"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	control := regexp.MustCompile(`http://\S+`).FindString(stdout.String())
	resp, err := http.Get(control)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%s: %s", control, resp.Status)
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("stopped with %v", err)
	}
	if conn, err := net.Dial("tcp", address); err == nil {
		_ = conn.Close()
		t.Error("it still listens")
	}
}

func TestWithoutControlInterface(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr safeBuffer
	if err := run(ctx, []string{"--dir", t.TempDir(), "--control-address", ""}, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(stdout.String(), "control: ") {
		t.Errorf("printed %q", stdout.String())
	}
}

func TestAnAddressInUseIsNoUsageError(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var out safeBuffer
	for _, name := range []string{"--ssh-address", "--control-address"} {
		err := run(t.Context(), []string{"--dir", t.TempDir(), name, listener.Addr().String()}, &out, &out)
		if _, usage := errors.AsType[usageError](err); err == nil || usage || !strings.Contains(err.Error(), "address already in use") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func poll(t *testing.T, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("still not so after 30 s")
		}
	}
}

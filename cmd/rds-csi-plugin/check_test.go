package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
)

// canary stands in every secret that check is given.
const canary = "CANARY4f1d9b"

func simulated(t *testing.T) *rdssim.Array {
	t.Helper()
	a, err := rdssim.Start(t.Context(), rdssim.Options{Dir: filepath.Join(t.TempDir(), "array")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// keyWith is a key file whose content is there to be found in an output.
func keyWith(t *testing.T, passphrase string) (file, content string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, canary)
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, canary, []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	content = string(pem.EncodeToMemory(block))
	file = filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, content
}

// runCheck is the program itself. The flags of the array are given, then those of the test: later ones win.
func runCheck(t *testing.T, a *rdssim.Array, flags ...string) (code int, stdout, stderr string) {
	t.Helper()
	args := []string{"check", "--kubelet-dir=/absent"}
	if a != nil {
		args = append(args, a.DriverFlags()...)
	}
	var out, errs bytes.Buffer
	code = start(t.Context(), append(args, flags...), noEnvironment, &out, &errs)
	return code, out.String(), errs.String()
}

func TestCheckExitCodes(t *testing.T) {
	a := simulated(t)
	taken := filepath.Join(t.TempDir(), "taken")
	if err := os.WriteFile(taken, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		array *rdssim.Array
		flags []string
		code  int
		says  string
	}{
		"this machine alone":   {nil, nil, exitOK, "skipped  array: no --rds-address is given"},
		"an array":             {a, nil, exitOK, "OK       login: user csi is let in"},
		"something failed":     {a, []string{"--rds-pool=none"}, exitFailed, "1 failed"},
		"--write, no array":    {nil, []string{"--write"}, exitUsage, "--write needs an array"},
		"--write, no pool":     {a, []string{"--write", "--rds-pool="}, exitUsage, "--write needs a pool"},
		"look, no pool":        {a, []string{"--rds-pool="}, exitOK, "warning  pool: no --rds-pool is given"},
		"no key":               {a, []string{"--rds-key-file="}, exitUsage, "--rds-key-file is missing"},
		"no host key":          {a, []string{"--rds-host-key="}, exitUsage, "--rds-host-key is missing"},
		"no such host key":     {a, []string{"--rds-host-key=/absent"}, exitUsage, "/absent"},
		"unknown flag":         {a, []string{"--writ"}, exitUsage, "writ"},
		"an argument":          {a, []string{"please"}, exitUsage, `"please"`},
		"the report is there":  {a, []string{"--report=" + taken}, exitUsage, "give the name of a new file"},
		"no place for reports": {a, []string{"--report=/absent/report"}, exitUsage, "--report"},
		"report to stdout":     {a, []string{"--report=-"}, exitOK, "skipped\n\nrds-csi-plugin check\n\ndriver: "},
		"help":                 {nil, []string{"-h"}, exitOK, "It changes nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := runCheck(t, tt.array, tt.flags...)
			if code != tt.code || !strings.Contains(out+errs, tt.says) {
				t.Errorf("code %d, want %d and %q:\n%s%s", code, tt.code, tt.says, out, errs)
			}
		})
	}
	if text, err := os.ReadFile(taken); err != nil || string(text) != "precious" {
		t.Errorf("a file that was there is now %q: %v", text, err)
	}
	if items := a.Items(); len(items) != 1 {
		t.Errorf("looking made %v", items)
	}
}

func TestCheckReadsTheDriversVariables(t *testing.T) {
	a := simulated(t)
	flags := a.DriverFlags()
	getenv := func(name string) string {
		for i := 0; i < len(flags); i += 2 {
			if environmentName(strings.TrimPrefix(flags[i], "--")) == name {
				return flags[i+1]
			}
		}
		return ""
	}
	var out, errs bytes.Buffer
	if code := start(t.Context(), []string{"check", "--kubelet-dir=/absent"}, getenv, &out, &errs); code != exitOK || !strings.Contains(out.String(), "OK       pool: storage-pool") {
		t.Errorf("code %d:\n%s%s", code, &out, &errs)
	}
}

// The key, its comment and its passphrase are in neither the output nor the report, whatever goes wrong.
func TestCheckTellsNoSecret(t *testing.T) {
	a := simulated(t)
	plain, plainText := keyWith(t, "")
	locked, lockedText := keyWith(t, canary)
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("-----BEGIN OPENSSH PRIVATE KEY-----\n"+canary+"\n-----END OPENSSH PRIVATE KEY-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile(a.ClientKeyFile())
	if err != nil {
		t.Fatal(err)
	}
	var secrets []string
	for _, text := range []string{plainText, lockedText, string(own)} {
		lines := strings.Split(strings.TrimSpace(text), "\n")
		secrets = append(secrets, lines[1:len(lines)-1]...)
	}
	for name, flags := range map[string][]string{
		"a stranger's key": {"--rds-key-file=" + plain}, "with a passphrase": {"--rds-key-file=" + locked}, "broken": {"--rds-key-file=" + broken},
		"its own": nil, "the key as host key": {"--rds-host-key=" + plain},
	} {
		for _, write := range []string{"--write=false", "--write"} {
			t.Run(name+" "+write, func(t *testing.T) {
				report := filepath.Join(t.TempDir(), "report")
				_, out, errs := runCheck(t, a, append(slices.Clone(flags), write, "--report="+report)...)
				text, err := os.ReadFile(report)
				if err != nil && name != "the key as host key" {
					t.Fatal(err)
				}
				for _, secret := range append(secrets, canary) {
					if strings.Contains(out+errs+string(text), secret) {
						t.Errorf("it tells %q:\n%s%s%s", secret, out, errs, text)
					}
				}
				for _, place := range append(flags, a.SSHAddr(), a.HostKeyFile(), a.ClientKeyFile(), a.HostKeyFingerprint(), "127.0.0.1") {
					if _, path, is := strings.Cut(place, "="); is {
						place = path
					}
					if strings.Contains(string(text), place) {
						t.Errorf("the report tells %q:\n%s", place, text)
					}
				}
			})
		}
	}
}

// An interrupted --write ends as a failure, with a report, and nothing left.
func TestCheckInterrupted(t *testing.T) {
	a := simulated(t)
	report := filepath.Join(t.TempDir(), "report")
	ctx, cancel := context.WithCancel(t.Context())
	out := &cancelAt{word: "duplicate slot", cancel: cancel}
	var errs bytes.Buffer
	args := append([]string{"check", "--write", "--report=" + report}, a.DriverFlags()...)
	if code := start(ctx, args, noEnvironment, out, &errs); code != exitFailed {
		t.Errorf("code %d:\n%s%s", code, &out.said, &errs)
	}
	text, err := os.ReadFile(report)
	if err != nil || !strings.Contains(string(text), "interrupted") || !strings.Contains(string(text), "OK       clean-up") {
		t.Errorf("%v:\n%s", err, text)
	}
	if items := a.Items(); len(items) != 1 {
		t.Errorf("left: %v", items)
	}
}

// cancelAt is Ctrl-C at the moment at which a word is printed.
type cancelAt struct {
	said   bytes.Buffer
	word   string
	cancel func()
}

func (c *cancelAt) Write(p []byte) (int, error) {
	if strings.Contains(string(p), c.word) {
		c.cancel()
	}
	return c.said.Write(p)
}

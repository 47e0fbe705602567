package routeros

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

var rsaKey = sync.OnceValue(func() crypto.Signer {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func ed25519Key(t testing.TB) crypto.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func signer(t testing.TB, key crypto.Signer) ssh.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func writeFile(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func keyFile(t testing.TB, key crypto.Signer) string {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, "id", string(pem.EncodeToMemory(block)))
}

func TestUserKey(t *testing.T) {
	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(ed25519Key(t), "", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, path, want string }{
		{"ed25519", keyFile(t, ed25519Key(t)), ""},
		{"rsa", keyFile(t, rsaKey()), ""},
		{"ecdsa", keyFile(t, ecdsaKey), "RouterOS rejects; make an Ed25519 key"},
		{"passphrase", writeFile(t, "id", string(pem.EncodeToMemory(locked))), "has a passphrase"},
		{"no key", writeFile(t, "id", "TOPSECRET"), "holds no private key"},
		{"no file", filepath.Join(t.TempDir(), "absent"), "no such file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			key, err := loadUserKey(tt.path)
			if tt.want == "" {
				if err != nil || key == nil {
					t.Fatalf("%v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.path) {
				t.Errorf("error %v lacks %q or the path", err, tt.want)
			}
			if strings.Contains(err.Error(), "TOPSECRET") {
				t.Error("the file's content is in the error")
			}
		})
	}
}

func TestHostKeySettings(t *testing.T) {
	const address = "array.example:2222"
	good, other := signer(t, ed25519Key(t)).PublicKey(), signer(t, rsaKey()).PublicKey()
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(good)))
	otherLine := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(other)))
	hashed := knownhosts.HashHostname(knownhosts.Normalize(address)) + " " + line
	tests := []struct{ name, setting string }{
		{"fingerprint", ssh.FingerprintSHA256(good)},
		{"padded fingerprint", ssh.FingerprintSHA256(good) + "="},
		{"public key file", writeFile(t, "k", "# the array\n"+line+" comment here\n")},
		{"two public keys", writeFile(t, "k", "\n"+line+"\n"+line+"\n")},
		{"known_hosts", writeFile(t, "k", knownhosts.Line([]string{address}, good)+"\n"+"elsewhere "+otherLine+"\n")},
		{"hashed known_hosts", writeFile(t, "k", hashed+"\n")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			keys, err := loadHostKeys(tt.setting, address)
			if err != nil {
				t.Fatal(err)
			}
			remote := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 2222}
			if err := keys.verify(address, remote, good); err != nil {
				t.Errorf("the right key: %v", err)
			}
			err = keys.verify(address, remote, other)
			if fault.ReasonOf(err) != fault.SSHHostKey {
				t.Fatalf("a wrong key: %v", err)
			}
			for _, key := range []ssh.PublicKey{good, other} {
				if !strings.Contains(err.Error(), ssh.FingerprintSHA256(key)) {
					t.Errorf("%v lacks a fingerprint", err)
				}
			}
		})
	}
}

func TestBadHostKeySettings(t *testing.T) {
	tests := []struct{ name, setting, want string }{
		{"short fingerprint", "SHA256:AAAA", "no SHA-256 fingerprint"},
		{"no base64", "SHA256:" + strings.Repeat("?", 43), "no SHA-256 fingerprint"},
		{"no file", "/absent/key", "no such file"},
		{"empty file", writeFile(t, "k", "# nothing\n"), "holds no SSH host key"},
		{"nonsense", writeFile(t, "k", "what is this\n"), "neither"},
		{"known_hosts of others", writeFile(t, "k", "elsewhere "+string(ssh.MarshalAuthorizedKey(signer(t, rsaKey()).PublicKey()))), "has no key for array"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := loadHostKeys(tt.setting, "array:22"); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v lacks %q", err, tt.want)
			}
		})
	}
}

// A pinned RSA key must not lose to an Ed25519 key that the array has as well.
func TestExpectedHostKeyTypeIsAskedForFirst(t *testing.T) {
	keys := pinKeys("here", []ssh.PublicKey{signer(t, rsaKey()).PublicKey()})
	got := keys.algorithms()
	if got[0] != ssh.KeyAlgoRSASHA256 && got[0] != ssh.KeyAlgoRSASHA512 {
		t.Errorf("asked for first: %s", got[0])
	}
	if len(got) != len(ssh.SupportedAlgorithms().HostKeys) {
		t.Errorf("%d of %d algorithms are left", len(got), len(ssh.SupportedAlgorithms().HostKeys))
	}
}

func TestConfigIsChecked(t *testing.T) {
	key := keyFile(t, ed25519Key(t))
	pin := ssh.FingerprintSHA256(signer(t, rsaKey()).PublicKey())
	good := Config{Address: "array:22", User: "csi", KeyFile: key, HostKey: pin}
	tests := []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"good", func(*Config) {}, ""},
		{"no port", func(c *Config) { c.Address = "array" }, "host:port"},
		{"bad port", func(c *Config) { c.Address = "array:99999" }, "host:port"},
		{"no user", func(c *Config) { c.User = "" }, "user"},
		{"no key file", func(c *Config) { c.KeyFile = "" }, "key file"},
		{"no host key", func(c *Config) { c.HostKey = "" }, "host key"},
		{"bad host key", func(c *Config) { c.HostKey = "SHA256:x" }, "fingerprint"},
		{"negative sessions", func(c *Config) { c.Sessions = -1 }, "session"},
		{"negative time-out", func(c *Config) { c.ExecTimeout = -1 }, "time-out"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			config := good
			tt.change(&config)
			client, err := New(config)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if err := client.Close(); err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v lacks %q", err, tt.want)
			}
		})
	}
}

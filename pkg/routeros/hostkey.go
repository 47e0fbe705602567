package routeros

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// hostKeys decides whether the array is the one that was configured.
type hostKeys struct {
	source string          // where the expected key comes from, for the error
	want   []ssh.PublicKey // the expected keys, where they are known
	accept func(key ssh.PublicKey) bool
	expect string // the expected keys in words
}

const fingerprintPrefix = "SHA256:"

// loadHostKeys reads what Config.HostKey names.
func loadHostKeys(setting, address string) (*hostKeys, error) {
	if strings.HasPrefix(setting, fingerprintPrefix) {
		return pinFingerprint(setting)
	}
	content, err := os.ReadFile(setting)
	if err != nil {
		return nil, fmt.Errorf("read the SSH host key: %w", err)
	}
	keys, plain := publicKeys(string(content))
	switch {
	case plain && len(keys) == 0:
		return nil, fmt.Errorf("%s holds no SSH host key", setting)
	case plain:
		return pinKeys(setting, keys), nil
	default:
		return knownHosts(setting, address)
	}
}

func pinFingerprint(setting string) (*hostKeys, error) {
	pin := strings.TrimRight(setting, "=")
	if sum, err := base64.RawStdEncoding.DecodeString(strings.TrimPrefix(pin, fingerprintPrefix)); err != nil || len(sum) != 32 {
		return nil, fmt.Errorf("SSH host key %q is no SHA-256 fingerprint (SHA256: and 43 characters of base64)", setting)
	}
	accept := func(key ssh.PublicKey) bool { return ssh.FingerprintSHA256(key) == pin }
	return &hostKeys{source: "the configured fingerprint", accept: accept, expect: pin}, nil
}

// publicKeys reads a file of public keys, one a line. plain is false for a known_hosts file,
// whose lines begin with a host.
func publicKeys(content string) (keys []ssh.PublicKey, plain bool) {
	for line := range strings.Lines(content) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil || len(options) > 0 {
			return nil, false
		}
		keys = append(keys, key)
	}
	return keys, true
}

func pinKeys(source string, want []ssh.PublicKey) *hostKeys {
	accept := func(key ssh.PublicKey) bool {
		return slices.ContainsFunc(want, func(w ssh.PublicKey) bool { return slices.Equal(w.Marshal(), key.Marshal()) })
	}
	return &hostKeys{source: source, want: want, accept: accept, expect: describeKeys(want)}
}

// knownHosts uses the entries of a known_hosts file that are for address.
func knownHosts(path, address string) (*hostKeys, error) {
	check, err := knownhosts.New(path)
	if err != nil {
		return nil, fmt.Errorf("%s is neither an OpenSSH public key nor a known_hosts file: %w", path, err)
	}
	remote := &net.TCPAddr{IP: net.IPv4zero} // the name in address decides
	// A key that nobody has: the refusal lists those that are known.
	nobodys, err := ssh.NewPublicKey(ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)))
	if err != nil {
		return nil, err
	}
	refusal, ok := errors.AsType[*knownhosts.KeyError](check(address, remote, nobodys))
	if !ok || len(refusal.Want) == 0 {
		return nil, fmt.Errorf("%s has no key for %s", path, knownhosts.Normalize(address))
	}
	var want []ssh.PublicKey
	for _, known := range refusal.Want {
		want = append(want, known.Key)
	}
	accept := func(key ssh.PublicKey) bool { return check(address, remote, key) == nil }
	return &hostKeys{source: path, want: want, accept: accept, expect: describeKeys(want)}, nil
}

// verify is an ssh.HostKeyCallback.
func (h *hostKeys) verify(_ string, _ net.Addr, key ssh.PublicKey) error {
	if h.accept(key) {
		return nil
	}
	return fault.Errorf("check the host key", fault.SSHHostKey,
		"the array shows %s, but %s says %s; if the array's key was changed on purpose, configure the new one, else something else answers at this address",
		describeKey(key), h.source, h.expect)
}

// algorithms asks for keys of the expected types first. The others stay in the list, so that
// an array with another key is answered with both fingerprints and not with "no common algorithm".
func (h *hostKeys) algorithms() []string {
	all := ssh.SupportedAlgorithms().HostKeys
	expected := func(algorithm string) bool {
		return slices.ContainsFunc(h.want, func(key ssh.PublicKey) bool {
			return algorithm == key.Type() || key.Type() == ssh.KeyAlgoRSA && (algorithm == ssh.KeyAlgoRSASHA256 || algorithm == ssh.KeyAlgoRSASHA512)
		})
	}
	slices.SortStableFunc(all, func(a, b string) int {
		switch x, y := expected(a), expected(b); {
		case x == y:
			return 0
		case x:
			return -1
		default:
			return 1
		}
	})
	return all
}

func describeKeys(keys []ssh.PublicKey) string {
	words := make([]string, len(keys))
	for i, key := range keys {
		words[i] = describeKey(key)
	}
	return strings.Join(words, " or ")
}

func describeKey(key ssh.PublicKey) string {
	return key.Type() + " " + ssh.FingerprintSHA256(key)
}

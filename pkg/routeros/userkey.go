package routeros

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/crypto/ssh"
)

// loadUserKey reads the private key that the user logs in with. RouterOS takes Ed25519 and RSA
// keys of users and no others (facts/routeros.md §5), so others are refused here, in words.
func loadUserKey(path string) (ssh.Signer, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the SSH key: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(pem)
	if _, locked := errors.AsType[*ssh.PassphraseMissingError](err); locked {
		return nil, fmt.Errorf("the SSH key in %s has a passphrase; give one without", path)
	}
	if err != nil {
		// The cause is left out: nothing of a private key file belongs in an error.
		return nil, fmt.Errorf("%s holds no private key in PEM or OpenSSH format", path)
	}
	switch kind := signer.PublicKey().Type(); kind {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoRSA:
		return signer, nil
	default:
		return nil, fmt.Errorf("the SSH key in %s is of type %s, which RouterOS rejects; make an Ed25519 key (ssh-keygen -t ed25519) or an RSA key", path, kind)
	}
}

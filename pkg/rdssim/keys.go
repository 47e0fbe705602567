package rdssim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"
)

// keyPair finds DIR/name and DIR/name.pub, or makes them. An array keeps its
// keys over restarts.
func keyPair(dir, name, kind string) (ssh.Signer, error) {
	path := filepath.Join(dir, name)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = newKey(path, kind)
	}
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", path, err)
	}
	signer, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", path, err)
	}
	public := ssh.MarshalAuthorizedKey(signer.PublicKey())
	if err := writeFileAtomic(path+".pub", public, 0o644); err != nil {
		return nil, err
	}
	return signer, nil
}

func newKey(path, kind string) ([]byte, error) {
	key, err := generate(kind)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(key, "rds-sim")
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(block)
	return text, writeFileAtomic(path, text, 0o600)
}

func generate(kind string) (crypto.PrivateKey, error) {
	if kind == "rsa" {
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return key, err
}

// writeFileAtomic replaces a file so that a reader sees the old or the new.
func writeFileAtomic(path string, data []byte, mode os.FileMode) error {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = temp.Write(data)
	err = errors.Join(err, temp.Chmod(mode), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return nil
}

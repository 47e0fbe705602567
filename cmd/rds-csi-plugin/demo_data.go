package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

const demoData = 32 << 20

// write puts random data on the volume, as a pod would, and remembers its checksum.
func (l *life) write(context.Context) (_ string, err error) {
	f, err := os.Create(filepath.Join(l.target(), "data"))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	hash := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(f, hash), rand.Reader, demoData); err != nil {
		return "", err
	}
	l.sum = hex.EncodeToString(hash.Sum(nil))
	return fmt.Sprintf("%s of random data, sha256 %.12s", size(demoData), l.sum), f.Sync()
}

// read takes the data from the volume and compares it.
func (l *life) read(context.Context) (_ string, err error) {
	f, err := os.Open(filepath.Join(l.target(), "data"))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	if sum := hex.EncodeToString(hash.Sum(nil)); sum != l.sum {
		return "", fmt.Errorf("read sha256 %s, wrote %s", sum, l.sum)
	}
	return fmt.Sprintf("%s, sha256 %.12s as written", size(demoData), l.sum), nil
}

// size writes bytes for people.
func size(bytes int64) string {
	if bytes >= 1<<30 {
		return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
	}
	return fmt.Sprintf("%.0f MiB", float64(bytes)/(1<<20))
}

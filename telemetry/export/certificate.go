package export

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"sync"

	"go.uber.org/zap"
)

// certificate is what the HTTP endpoint shows of itself. Certificates live for days (cert-manager)
// and the process for months, so the files are looked at anew at each handshake: two reads of a
// few kilobytes beside a signature, and no watcher that misses the links which Kubernetes swaps.
//
// The libraries that do this do not fit: gRPC's pemfile provider logs the private key that it
// cannot parse (credentials/tls/certprovider/pemfile/watcher.go), controller-runtime's certwatcher
// registers metrics in the global registry, exporter-toolkit wants a configuration file.
type certificate struct {
	certFile, keyFile string
	log               *zap.Logger

	mu      sync.Mutex
	seen    pairFiles // good or bad
	current *tls.Certificate
}

// pairFiles is what was read last, or why it could not be.
type pairFiles struct{ cert, key, failure string }

// newCertificate fails where the pair cannot be used now.
func newCertificate(certFile, keyFile string, log *zap.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	if _, err := c.refresh(); err != nil {
		return nil, err
	}
	return c, nil
}

// config refuses TLS 1.0 and 1.1 (RFC 8996).
func (c *certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}
}

// get is the newest pair that could be used. A bad one, also one half replaced, is logged once.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch changed, err := c.refresh(); {
	case err != nil:
		c.log.Warn("the metrics' new certificate cannot be used: the old one is kept", zap.Error(err))
	case changed:
		c.log.Info("the metrics have a new certificate", zap.String("file", c.certFile))
	}
	return c.current, nil
}

// refresh takes the files if they are not what was seen last. Its error never quotes the key.
func (c *certificate) refresh() (changed bool, err error) {
	cert, certErr := os.ReadFile(c.certFile)
	key, keyErr := os.ReadFile(c.keyFile)
	now := pairFiles{cert: string(cert), key: string(key)}
	failure := errors.Join(certErr, keyErr)
	if failure != nil {
		now.failure = failure.Error()
	}
	if now == c.seen {
		return false, nil
	}
	c.seen = now
	if failure != nil {
		return false, fmt.Errorf("--metrics-tls-cert and --metrics-tls-key: %w", failure)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return false, fmt.Errorf("--metrics-tls-cert %s and --metrics-tls-key %s are no pair of certificate and key in PEM: %w", c.certFile, c.keyFile, err)
	}
	c.current = &pair
	return true, nil
}

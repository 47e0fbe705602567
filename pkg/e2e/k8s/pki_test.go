package k8s

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"testing"
	"time"
)

// authority signs the cluster's certificates.
type authority struct {
	name string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func newKey(t *testing.T) (*ecdsa.PrivateKey, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, pemOf("EC PRIVATE KEY", der)
}

func template(t *testing.T, subject pkix.Name) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: subject, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, BasicConstraintsValid: true,
	}
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	key, text := newKey(t)
	cert := template(t, pkix.Name{CommonName: name})
	cert.IsCA, cert.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a := authority{name, cert, key, pemOf("CERTIFICATE", der)}
	write(t, "pki/"+name+".crt", a.pem)
	write(t, "pki/"+name+".key", text)
	return a
}

// issue makes pki/<name>.crt and .key, for a client, and for a server at the hosts if there are any.
func (a authority) issue(t *testing.T, name string, subject pkix.Name, hosts ...string) (cert, key string) {
	t.Helper()
	private, text := newKey(t)
	c := template(t, subject)
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if len(hosts) > 0 {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, private.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert = pemOf("CERTIFICATE", der)
	write(t, "pki/"+name+".crt", cert)
	write(t, "pki/"+name+".key", text)
	return cert, text
}

// kubeconfig makes <name>.conf for a user, and gives its path.
func (a authority) kubeconfig(t *testing.T, name string, user pkix.Name) string {
	t.Helper()
	cert, key := a.issue(t, name, user)
	encode := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	return write(t, name+".conf", fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: e2e, cluster: {certificate-authority-data: %s, server: "https://%s"}}]
users: [{name: %s, user: {client-certificate-data: %s, client-key-data: %s}}]
contexts: [{name: e2e, context: {cluster: e2e, user: %s}}]
current-context: e2e
`, encode(a.pem), nodeIP, name, encode(cert), encode(key), name))
}

// serviceAccountKey is what tokens are signed with.
func serviceAccountKey(t *testing.T) {
	t.Helper()
	key, text := newKey(t)
	write(t, "pki/sa.key", text)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	write(t, "pki/sa.pub", pemOf("PUBLIC KEY", der))
}

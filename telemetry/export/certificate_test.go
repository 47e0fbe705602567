package export

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"
)

// pair is a self-signed certificate for 127.0.0.1 and its key, in PEM.
type pair struct{ cert, key []byte }

func newPair(t *testing.T, serial int64) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pair{
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}
}

// pairFilesIn are where tests keep the endpoint's pair.
func pairFilesIn(dir string) (cert, key string) {
	return filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
}

func (p pair) write(t *testing.T, dir string) {
	t.Helper()
	cert, key := pairFilesIn(dir)
	for name, data := range map[string][]byte{cert: p.cert, key: p.key} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// shown fetches url over a connection of its own, and gives the serial number of the certificate it was shown.
func shown(t *testing.T, url string, trusted ...pair) int64 {
	t.Helper()
	roots := x509.NewCertPool()
	for _, p := range trusted {
		roots.AppendCertsFromPEM(p.cert)
	}
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatalf("get %s: %v", url, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%s: %s", url, resp.Status)
	}
	return resp.TLS.PeerCertificates[0].SerialNumber.Int64()
}

func TestMetricsByHTTPSWithTheNewestCertificateThatWorks(t *testing.T) {
	setEnv(t)
	dir := t.TempDir()
	first, second := newPair(t, 1), newPair(t, 2)
	first.write(t, dir)
	cfg := Config{MetricsAddress: "127.0.0.1:0"}
	cfg.TLSCert, cfg.TLSKey = pairFilesIn(dir)
	tel, logs := setup(t, cfg)
	url := serve(t, tel)
	if !strings.HasPrefix(url, "https://127.0.0.1:") {
		t.Fatalf("URL %s", url)
	}
	warnings := func() int { return logs.FilterLevelExact(zapcore.WarnLevel).Len() }
	for _, step := range []struct {
		name     string
		files    pair
		serial   int64
		warnings int // all so far
	}{
		{"at start", first, 1, 0},
		{"half replaced", pair{second.cert, first.key}, 1, 1},
		{"replaced", second, 2, 1},
		{"no PEM", pair{[]byte("x"), second.key}, 2, 2},
		{"back again", first, 1, 2},
	} {
		step.files.write(t, dir)
		for range 3 { // a bad pair is logged once, not at each handshake
			if got := shown(t, url, first, second); got != step.serial {
				t.Errorf("%s: certificate %d, want %d", step.name, got, step.serial)
			}
		}
		if got := warnings(); got != step.warnings {
			t.Errorf("%s: %d warnings so far, want %d: %v", step.name, got, step.warnings, logs.All())
		}
	}
	if err := os.Remove(cfg.TLSKey); err != nil {
		t.Fatal(err)
	}
	if got := shown(t, url, first); got != 1 || warnings() != 3 {
		t.Errorf("without the file: certificate %d, %d warnings", got, warnings())
	}
	if line := logs.FilterLevelExact(zapcore.WarnLevel).All()[2].ContextMap()["error"].(string); !strings.Contains(line, cfg.TLSKey) {
		t.Errorf("the warning %q does not name the file", line)
	}
}

func TestMetricsRefuseOldTLS(t *testing.T) {
	setEnv(t)
	dir := t.TempDir()
	newPair(t, 1).write(t, dir)
	cfg := Config{MetricsAddress: "127.0.0.1:0"}
	cfg.TLSCert, cfg.TLSKey = pairFilesIn(dir)
	tel, _ := setup(t, cfg)
	address := strings.TrimPrefix(base(serve(t, tel)), "https://")
	for version, want := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: version})
		if err == nil {
			conn.Close()
		}
		if (err == nil) != want {
			t.Errorf("%s: error %v", tls.VersionName(version), err)
		}
	}
	if code, _ := get(t, "http://"+address+"/metrics", ""); code != http.StatusBadRequest {
		t.Errorf("plain HTTP: %d", code)
	}
}

func TestACertificateThatCannotBeUsedAtStart(t *testing.T) {
	setEnv(t)
	dir := t.TempDir()
	cert, key := pairFilesIn(dir)
	good, other := newPair(t, 1), newPair(t, 2)
	for _, tt := range []struct {
		name  string
		files *pair
		want  []string
	}{
		{"no files", nil, []string{"--metrics-tls-cert", cert, "no such file", key}},
		{"no pair", &pair{good.cert, other.key}, []string{"--metrics-tls-cert " + cert, "--metrics-tls-key " + key, "does not match"}},
		{"swapped", &pair{good.key, good.cert}, []string{"no pair of certificate and key in PEM"}},
	} {
		if tt.files != nil {
			tt.files.write(t, dir)
		}
		_, err := Setup(t.Context(), Config{Component: "node", MetricsAddress: "127.0.0.1:0", TLSCert: cert, TLSKey: key})
		if err == nil {
			t.Errorf("%s: no error", tt.name)
			continue
		}
		for _, part := range tt.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: error %q does not say %q", tt.name, err, part)
			}
		}
		if strings.Contains(err.Error(), "PRIVATE KEY-----") {
			t.Errorf("%s: the error quotes the key: %v", tt.name, err)
		}
	}
}

package routeros

import (
	"context"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/crypto/ssh"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

func TestLoginRefusals(t *testing.T) {
	stranger := ed25519Key(t)
	public := func(key ssh.PublicKey) string { return string(ssh.MarshalAuthorizedKey(key)) }
	tests := []struct {
		name   string
		change func(s *server, c *Config)
		reason fault.Reason
		parts  func(s *server) []string
	}{
		{"wrong host key", func(_ *server, c *Config) { c.HostKey = ssh.FingerprintSHA256(signer(t, stranger).PublicKey()) }, fault.SSHHostKey,
			func(s *server) []string {
				return []string{ssh.FingerprintSHA256(s.hostKey.PublicKey()), ssh.FingerprintSHA256(signer(t, stranger).PublicKey())}
			}},
		{"host key of another type", func(_ *server, c *Config) {
			c.HostKey = writeFile(t, "k", public(signer(t, rsaKey()).PublicKey()))
		}, fault.SSHHostKey, func(s *server) []string {
			return []string{ssh.FingerprintSHA256(s.hostKey.PublicKey()), "ssh-rsa SHA256:"}
		}},
		{"wrong user key", func(_ *server, c *Config) { c.KeyFile = keyFile(t, stranger) }, fault.SSHAuth,
			func(*server) []string { return []string{"as csi", "/user/ssh-keys"} }},
		{"wrong user", func(_ *server, c *Config) { c.User = "other" }, fault.SSHAuth,
			func(*server) []string { return []string{"as other"} }},
		{"key file is gone", func(_ *server, c *Config) { c.KeyFile = "/absent/key" }, fault.SSHAuth,
			func(*server) []string { return []string{"/absent/key"} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t).start()
			c := s.client(func(c *Config) { tt.change(s, c) })
			_, err := get(t.Context(), c)
			wantFault(t, err, tt.reason, tt.parts(s)...)
			_, err = get(t.Context(), c)
			wantFault(t, err, tt.reason, "next attempt in")
			if s.execs.Load() != 0 || s.conns.Load() > 1 {
				t.Errorf("%d connections, %d execs", s.conns.Load(), s.execs.Load())
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	tests := []struct {
		name   string
		onConn func(s *server, raw net.Conn)
		want   string
	}{
		{"no banner", func(_ *server, raw net.Conn) { _, _ = io.Copy(io.Discard, raw) }, "did not end within 300ms"},
		{"half a handshake", func(_ *server, raw net.Conn) {
			_, _ = io.WriteString(raw, "SSH-2.0-ROSSSH\r\n")
			_, _ = io.Copy(io.Discard, raw)
		}, "did not end within 300ms"},
		{"closed at once", func(*server, net.Conn) {}, "available-from"},
		{"no SSH", func(_ *server, raw net.Conn) { _, _ = io.WriteString(raw, "HTTP/1.0 400\r\n\r\n") }, "127.0.0.1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t)
			s.onConn = func(_ int, raw net.Conn) bool { tt.onConn(s, raw); return false }
			_, err := get(t.Context(), s.start().client(func(c *Config) { c.DialTimeout = 300 * time.Millisecond }))
			wantFault(t, err, fault.SSHUnreachable, tt.want)
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		s := newServer(t)
		if err := s.listener.Close(); err != nil {
			t.Fatal(err)
		}
		_, err := get(t.Context(), s.client())
		wantFault(t, err, fault.SSHUnreachable, "connection refused", "is SSH enabled")
	})
}

func TestHostKeyInEveryForm(t *testing.T) {
	s := newServer(t).start()
	line := string(ssh.MarshalAuthorizedKey(s.hostKey.PublicKey()))
	host, port, err := net.SplitHostPort(s.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for name, setting := range map[string]string{
		"public key":  writeFile(t, "k", line),
		"known_hosts": writeFile(t, "k", "["+host+"]:"+port+" "+line),
		"pin":         ssh.FingerprintSHA256(s.hostKey.PublicKey()),
	} {
		t.Run(name, func(t *testing.T) {
			mustGet(t, s.client(func(c *Config) { c.HostKey = setting }))
		})
	}
}

func TestRSAOnBothSides(t *testing.T) {
	s := newServer(t)
	s.hostKey, s.userKey, s.keyFile = signer(t, rsaKey()), signer(t, rsaKey()), keyFile(t, rsaKey())
	mustGet(t, s.start().client())
}

func TestInsecureWarnsAndConnects(t *testing.T) {
	core, logged := observer.New(zap.InfoLevel)
	s := newServer(t).start()
	c := s.client(func(c *Config) { c.HostKey, c.InsecureSkipVerify, c.Log = "", true, zap.New(core) })
	if n := logged.FilterLevelExact(zap.WarnLevel).FilterMessageSnippet("not verified").Len(); n != 1 {
		t.Errorf("%d warnings", n)
	}
	mustGet(t, c)
}

// A replaced Secret works at the next dial, without a restart.
func TestUserKeyIsReadAtEachDial(t *testing.T) {
	s := newServer(t).start()
	right, err := os.ReadFile(s.keyFile)
	if err != nil {
		t.Fatal(err)
	}
	path := writeFile(t, "id", "not a key yet")
	c := s.client(func(c *Config) { c.KeyFile = path })
	_, err = get(t.Context(), c)
	wantFault(t, err, fault.SSHAuth, path)
	if err := os.WriteFile(path, right, 0o600); err != nil {
		t.Fatal(err)
	}
	poll(t, "a dial after the back-off", func() bool { _, err = get(t.Context(), c); return err == nil })
}

// A connection that died while nobody looked costs the next command nothing but a dial.
func TestStaleConnectionIsReplaced(t *testing.T) {
	s := newServer(t).start()
	c := s.client()
	for want := int64(1); want <= 20; want++ {
		mustGet(t, c)
		s.cut()
		if s.execs.Load() != want {
			t.Fatalf("%d execs for %d commands", s.execs.Load(), want)
		}
	}
}

func TestHungSessionOpenOnAStaleConnectionIsRetriedOnce(t *testing.T) {
	s := newServer(t)
	hang := make(chan struct{})
	s.onOpen = func(_, session int, _ ssh.NewChannel) bool {
		if session == 2 {
			close(hang)
		}
		return session != 2 // which is never answered
	}
	c := s.start().client(func(c *Config) { c.SessionTimeout = 200 * time.Millisecond })
	mustGet(t, c)
	mustGet(t, c)
	select {
	case <-hang:
	default:
		t.Fatal("the session open did not hang")
	}
	if s.conns.Load() != 2 || s.execs.Load() != 2 {
		t.Errorf("%d connections, %d execs", s.conns.Load(), s.execs.Load())
	}
}

func TestHungSessionOpenOnAFreshConnectionFails(t *testing.T) {
	s := newServer(t)
	s.onOpen = func(conn, _ int, _ ssh.NewChannel) bool { return conn > 1 }
	c := s.start().client(func(c *Config) { c.SessionTimeout = 200 * time.Millisecond })
	_, err := get(t.Context(), c)
	wantFault(t, err, fault.SSHUnreachable, "did not open a session within 200ms", "nothing was sent")
	if s.conns.Load() != 1 || s.execs.Load() != 0 {
		t.Errorf("%d connections, %d execs", s.conns.Load(), s.execs.Load())
	}
	mustGet(t, c)
}

func TestRefusedSession(t *testing.T) {
	for name, sessions := range map[string]int{"alone": 1, "with others": 3} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.onOpen = func(_, session int, offered ssh.NewChannel) bool {
				if session == 1 {
					_ = offered.Reject(ssh.ResourceShortage, "too many sessions")
				}
				return session > 1
			}
			c := s.start().client(func(c *Config) { c.Sessions = sessions })
			_, err := get(t.Context(), c)
			wantFault(t, err, fault.SSHUnreachable, "too many sessions", "--rds-ssh-sessions", "max-sessions")
			mustGet(t, c)
			if want := map[int]int64{1: 2, 3: 1}[sessions]; s.conns.Load() != want {
				t.Errorf("%d connections, want %d", s.conns.Load(), want)
			}
		})
	}
}

// A session that opens after its caller has left is closed again, and the connection is kept.
func TestSessionThatOpensTooLate(t *testing.T) {
	s := newServer(t)
	asked, let := make(chan struct{}), make(chan struct{})
	s.onOpen = func(_, session int, _ ssh.NewChannel) bool {
		if session == 1 {
			close(asked)
			<-let
		}
		return true
	}
	c := s.start().client()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	_, err := get(ctx, c)
	wantFault(t, err, fault.ReasonCanceled, "nothing was sent")
	close(let)
	mustGet(t, c)
	if s.execs.Load() != 1 || s.conns.Load() != 1 {
		t.Errorf("%d execs, %d connections", s.execs.Load(), s.conns.Load())
	}
}

// The reply counts though the array never closes the session; the connection is replaced.
func TestSessionThatIsNeverClosed(t *testing.T) {
	s := newServer(t)
	healthy := s.reply
	s.reply = func(conn, exec int, text string, channel io.ReadWriter) {
		healthy(conn, exec, text, channel)
		if stuck, ok := channel.(ssh.Channel); ok && exec == 1 {
			_ = stuck.CloseWrite()
			_, _ = io.Copy(io.Discard, channel)
			poll(t, "the client drops the connection", func() bool {
				_, err := stuck.SendRequest("poke", false, nil)
				return err != nil
			})
		}
	}
	c := s.start().client(func(c *Config) { c.SessionTimeout = 200 * time.Millisecond })
	mustGet(t, c)
	mustGet(t, c)
	if s.execs.Load() != 2 {
		t.Errorf("%d execs", s.execs.Load())
	}
}

func TestLostConnectionIsLoggedOnce(t *testing.T) {
	core, logged := observer.New(zap.InfoLevel)
	s := newServer(t).start()
	c := s.client(func(c *Config) { c.Log = zap.New(core) })
	mustGet(t, c)
	s.cut()
	poll(t, "the loss is logged", func() bool { return logged.FilterMessageSnippet("is gone").Len() == 1 })
	for _, entry := range logged.All() {
		for _, field := range entry.Context {
			if strings.Contains(field.String, "BODYTEXT") {
				t.Errorf("command text in the log: %v", entry)
			}
		}
	}
}

package routeros

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// server is an SSH server that does on the wire what a test tells it to. Its counters are
// what the array would have seen.
type server struct {
	t        testing.TB
	listener net.Listener
	hostKey  ssh.Signer
	userKey  ssh.Signer
	keyFile  string

	onConn func(conn int, raw net.Conn) bool                        // false: no SSH on it
	onOpen func(conn, session int, offered ssh.NewChannel) bool     // false: it was answered, or is to be left hanging
	onExec func(conn int, text string, channel ssh.Channel) bool    // false: the exec request is refused
	reply  func(conn, exec int, text string, channel io.ReadWriter) // after acceptance

	conns, sessions, execs, open, peak atomic.Int64
	mu                                 sync.Mutex
	live                               map[net.Conn]bool
	texts                              []string
	group                              sync.WaitGroup
}

// newServer answers every exec as a healthy array does, until the test changes that.
func newServer(t testing.TB) *server {
	t.Helper()
	key := ed25519Key(t)
	s := &server{
		t: t, hostKey: signer(t, ed25519Key(t)), userKey: signer(t, key), keyFile: keyFile(t, key),
		live:  map[net.Conn]bool{},
		reply: func(_, _ int, text string, channel io.ReadWriter) { answer(channel, text, "row=1") },
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.listener = listener
	return s
}

// start begins to listen; the hooks are set before.
func (s *server) start() *server {
	s.group.Go(s.accept)
	s.t.Cleanup(func() {
		_ = s.listener.Close()
		s.cut()
		s.group.Wait()
	})
	return s
}

// cut resets all connections.
func (s *server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.live {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
}

func (s *server) accept() {
	for {
		raw, err := s.listener.Accept()
		if err != nil {
			return
		}
		n := int(s.conns.Add(1))
		s.mu.Lock()
		s.live[raw] = true
		s.mu.Unlock()
		s.group.Go(func() { s.serve(n, raw) })
	}
}

func (s *server) serve(n int, raw net.Conn) {
	defer func() {
		_ = raw.Close()
		s.mu.Lock()
		delete(s.live, raw)
		s.mu.Unlock()
	}()
	if s.onConn != nil && !s.onConn(n, raw) {
		return
	}
	config := &ssh.ServerConfig{ServerVersion: "SSH-2.0-ROSSSH", PublicKeyCallback: func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if meta.User() != "csi" || !bytes.Equal(key.Marshal(), s.userKey.PublicKey().Marshal()) {
			return nil, errors.New("login failure")
		}
		return nil, nil
	}}
	config.AddHostKey(s.hostKey)
	conn, channels, requests, err := ssh.NewServerConn(raw, config)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	s.group.Go(func() {
		for range requests { // keepalives are not answered (facts/predecessor.md §2.6)
		}
	})
	for offered := range channels {
		s.group.Go(func() { s.session(n, offered) })
	}
}

func (s *server) session(n int, offered ssh.NewChannel) {
	if number := int(s.sessions.Add(1)); s.onOpen != nil && !s.onOpen(n, number, offered) {
		return
	}
	channel, requests, err := offered.Accept()
	if err != nil {
		return
	}
	open := s.open.Add(1)
	for peak := s.peak.Load(); open > peak && !s.peak.CompareAndSwap(peak, open); peak = s.peak.Load() {
	}
	if request, ok := <-requests; ok {
		s.exec(n, request, channel)
	}
	s.open.Add(-1) // before the client can know, lest its next session be counted beside this one
	_ = channel.Close()
	for range requests {
	}
}

func (s *server) exec(n int, request *ssh.Request, channel ssh.Channel) {
	var payload struct{ Command string }
	if err := ssh.Unmarshal(request.Payload, &payload); err != nil {
		s.t.Errorf("exec request: %v", err)
		return
	}
	if s.onExec != nil && !s.onExec(n, payload.Command, channel) {
		_ = request.Reply(false, nil)
		return
	}
	_ = request.Reply(true, nil)
	s.mu.Lock()
	s.texts = append(s.texts, payload.Command)
	s.mu.Unlock()
	s.reply(n, int(s.execs.Add(1)), payload.Command, channel)
	_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{1})) // it lies
}

// config reaches the server, with time-outs for tests.
func (s *server) config() Config {
	return Config{
		Address: s.listener.Addr().String(), User: "csi", KeyFile: s.keyFile,
		HostKey: ssh.FingerprintSHA256(s.hostKey.PublicKey()), DialTimeout: 20 * time.Second,
		SessionTimeout: 20 * time.Second, ExecTimeout: 20 * time.Second,
	}
}

// client is one with the server's config, changed.
func (s *server) client(change ...func(*Config)) *Client {
	s.t.Helper()
	config := s.config()
	for _, f := range change {
		f(&config)
	}
	c, err := New(config)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			s.t.Error(err)
		}
	})
	return c
}

var nonceOf = regexp.MustCompile(`:put "@@(\w+) end=1"`)

// lines are keyed lines for the script in text, as RouterOS prints them.
func lines(text string, pairs ...string) string {
	nonce := nonceOf.FindStringSubmatch(text)[1]
	var b strings.Builder
	for _, pair := range append([]string{"ver=7.24.4 (stable)", "board=RDS2216"}, pairs...) {
		fmt.Fprintf(&b, "@@%s %s@@%s.   \r\n", nonce, pair, nonce)
	}
	return b.String()
}

// sentinels end a reply: "ok=1", "end=1" or both.
func sentinels(text string, which ...string) string {
	nonce := nonceOf.FindStringSubmatch(text)[1]
	var b strings.Builder
	for _, w := range which {
		fmt.Fprintf(&b, "@@%s %s\r\n", nonce, w)
	}
	return b.String()
}

func answer(w io.Writer, text string, pairs ...string) {
	_, _ = io.WriteString(w, lines(text, pairs...)+sentinels(text, "ok=1", "end=1")+"\r\n")
}

// poll waits until ok, or fails.
func poll(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

package routeros

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

func body(put Put) string { return `:local rdsX "BODYTEXT"; ` + put("row", "$rdsX") }

func get(ctx context.Context, c *Client) (*Reply, error) {
	return c.Run(ctx, telemetry.CommandDiskGet, body)
}

func mustGet(t *testing.T, c *Client) *Reply {
	t.Helper()
	r, err := get(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantFault(t *testing.T, err error, reason fault.Reason, parts ...string) {
	t.Helper()
	if fault.ReasonOf(err) != reason {
		t.Errorf("reason %q, want %q: %v", fault.ReasonOf(err), reason, err)
		return
	}
	for _, part := range append(parts, "routeros disk_get on 127.0.0.1:") {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err, part)
		}
	}
	if strings.Contains(err.Error(), "BODYTEXT") {
		t.Errorf("command text in the error: %v", err)
	}
}

func TestRunSendsTheWrapperAndReadsTheReply(t *testing.T) {
	s := newServer(t).start()
	c := s.client()
	for range 3 {
		r := mustGet(t, c)
		if v, _ := r.Value("row"); v != "1" || r.Version != "7.24.4 (stable)" || r.Board != "RDS2216" {
			t.Errorf("row %q, version %q, board %q", v, r.Version, r.Board)
		}
	}
	if s.conns.Load() != 1 {
		t.Errorf("%d connections for three commands", s.conns.Load())
	}
	nonce := nonceOf.FindStringSubmatch(s.texts[0])[1]
	if other := nonceOf.FindStringSubmatch(s.texts[1])[1]; nonce == other || len(nonce) != 16 {
		t.Errorf("nonces %s, %s", nonce, other)
	}
	want := `:put ("@@N ver=" . [/system/resource get version] . "@@N.")
:put ("@@N board=" . [/system/resource get board-name] . "@@N.")
:onerror rdsE in={:local rdsX "BODYTEXT"; :put ("@@N row=" . $rdsX . "@@N."); :put "@@N ok=1"} do={:put ("@@N err=" . [:tostr $rdsE] . "@@N.")}
:put "@@N end=1"`
	if got := strings.ReplaceAll(s.texts[0], nonce, "N"); got != want {
		t.Errorf("sent\n%s\nwant\n%s", got, want)
	}
}

// Whatever ends a reply early, it is an unknown outcome, and the exec is not sent again.
func TestLostReplies(t *testing.T) {
	tests := []struct {
		name  string
		reply func(s *server, text string, w io.Writer)
	}{
		{"nothing", func(*server, string, io.Writer) {}},
		{"half a line", func(_ *server, text string, w io.Writer) { _, _ = io.WriteString(w, lines(text, "row=1")[:60]) }},
		{"no end", func(_ *server, text string, w io.Writer) {
			_, _ = io.WriteString(w, lines(text, "row=1")+sentinels(text, "ok=1"))
		}},
		{"half an end", func(_ *server, text string, w io.Writer) {
			_, _ = io.WriteString(w, lines(text)+strings.TrimSuffix(sentinels(text, "ok=1", "end=1"), "1\r\n"))
		}},
		{"connection reset after half", func(s *server, text string, w io.Writer) {
			_, _ = io.WriteString(w, lines(text, "row=1"))
			s.cut()
		}},
		{"connection reset at once", func(s *server, _ string, _ io.Writer) { s.cut() }},
		{"value cut short, yet with an end", func(_ *server, text string, w io.Writer) {
			whole := lines(text, "row=12345")
			_, _ = io.WriteString(w, whole[:strings.Index(whole, "345")]+"\r\n"+sentinels(text, "ok=1", "end=1"))
		}},
		{"neither done nor failed", func(_ *server, text string, w io.Writer) {
			_, _ = io.WriteString(w, lines(text)+sentinels(text, "end=1"))
		}},
		{"longer than any reply", func(_ *server, text string, w io.Writer) {
			line := strings.Repeat("x", 1<<16) + "\r\n"
			for range replyLimit/len(line) + 1 {
				_, _ = io.WriteString(w, line)
			}
			answer(w, text, "row=1")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t)
			healthy := s.reply
			s.reply = func(conn, exec int, text string, channel io.ReadWriter) {
				if exec == 1 {
					tt.reply(s, text, channel)
					return
				}
				healthy(conn, exec, text, channel)
			}
			c := s.start().client()
			_, err := get(t.Context(), c)
			wantFault(t, err, fault.RouterOSLostReply)
			if fault.KindOf(err) != fault.UnknownOutcome || s.execs.Load() != 1 {
				t.Errorf("kind %s, sent %d times", fault.KindOf(err), s.execs.Load())
			}
			mustGet(t, c)
		})
	}
}

func TestWhatTheArraySays(t *testing.T) {
	tests := []struct {
		name, said string // said by err= or, if stray, as text
		stray      bool
		reason     fault.Reason
		parts      []string
	}{
		{"no permission", "not enough permissions (9)", false, fault.RouterOSRejected, []string{"group of user csi", "policy=ssh,read,write"}},
		{"stale id", "no such item (4)", false, fault.ReasonNotFound, nil},
		{"full", "failure: not enough space", false, fault.ReasonNoSpace, nil},
		{"own error", "leftover file (:error; line 1)", false, fault.RouterOSRejected, []string{"leftover file"}},
		{"parse error", "bad parameter nvme-tcp-server-nqn (line 3 column 99)", true, fault.RouterOSRejected, []string{"7.21 or newer", "7.24.4"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t)
			s.reply = func(_, _ int, text string, channel io.ReadWriter) {
				said := lines(text, "n=7", "err="+tt.said)
				if tt.stray {
					said = lines(text, "n=7") + tt.said + "\r\n" + text + "\r\n" // with an echo
				}
				_, _ = io.WriteString(channel, said+sentinels(text, "end=1"))
			}
			r, err := get(t.Context(), s.start().client())
			wantFault(t, err, tt.reason, append(tt.parts, tt.said)...)
			if r == nil {
				t.Fatal("no reply beside the error")
			}
			if n, err := r.Int("n"); n != 7 || err != nil {
				t.Errorf("n = %d, %v: what ran before the error is lost", n, err)
			}
		})
	}
}

func TestRefusedExecWasNotSent(t *testing.T) {
	s := newServer(t)
	s.onExec = func(int, string, ssh.Channel) bool { return false }
	_, err := get(t.Context(), s.start().client())
	wantFault(t, err, fault.RouterOSRejected, "refused the exec request")
}

func TestStderrDoesNotBlockAReply(t *testing.T) {
	s := newServer(t)
	healthy := s.reply
	s.reply = func(conn, exec int, text string, channel io.ReadWriter) {
		if flood, ok := channel.(ssh.Channel); ok {
			_, _ = flood.Stderr().Write(make([]byte, 4<<20))
		}
		healthy(conn, exec, text, channel)
	}
	mustGet(t, s.start().client())
}

func TestExecPastItsDeadlineDropsTheConnection(t *testing.T) {
	tests := []struct {
		name     string
		ctx, cap time.Duration
	}{{"of the context", 200 * time.Millisecond, time.Minute}, {"of the config", time.Minute, 200 * time.Millisecond}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t)
			healthy := s.reply
			s.reply = func(conn, exec int, text string, channel io.ReadWriter) {
				if exec == 1 {
					_, _ = io.Copy(io.Discard, channel) // until the client is gone
					return
				}
				healthy(conn, exec, text, channel)
			}
			c := s.start().client(func(c *Config) { c.ExecTimeout = tt.cap })
			ctx, cancel := context.WithTimeout(t.Context(), tt.ctx)
			defer cancel()
			_, err := get(ctx, c)
			wantFault(t, err, fault.RouterOSLostReply, "did not reply")
			mustGet(t, c)
			if s.conns.Load() != 2 || s.execs.Load() != 2 {
				t.Errorf("%d connections, %d execs", s.conns.Load(), s.execs.Load())
			}
		})
	}
}

// A cancelled caller is let go, but its exec keeps its slot until the array is done with it.
func TestCancelledExecGoesOnAlone(t *testing.T) {
	s := newServer(t)
	healthy, sent, finish := s.reply, make(chan struct{}), make(chan struct{})
	s.reply = func(conn, exec int, text string, channel io.ReadWriter) {
		if exec == 1 {
			close(sent)
			<-finish
		}
		healthy(conn, exec, text, channel)
	}
	c := s.start().client()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-sent; cancel() }()
	_, err := get(ctx, c)
	wantFault(t, err, fault.RouterOSLostReply, "canceled")
	short, cancelShort := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancelShort()
	_, err = get(short, c)
	wantFault(t, err, fault.ReasonTimeout, "others were still at work")
	close(finish)
	mustGet(t, c)
	if s.conns.Load() != 1 || s.execs.Load() != 2 || s.peak.Load() != 1 {
		t.Errorf("%d connections, %d execs, %d at once", s.conns.Load(), s.execs.Load(), s.peak.Load())
	}
}

func TestCloseEndsWhatIsInFlight(t *testing.T) {
	s := newServer(t)
	sent := make(chan struct{})
	s.reply = func(_, _ int, _ string, channel io.ReadWriter) {
		close(sent)
		_, _ = io.Copy(io.Discard, channel)
	}
	c := s.start().client()
	failed := make(chan error)
	go func() {
		_, err := get(t.Context(), c)
		failed <- err
	}()
	<-sent
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	wantFault(t, <-failed, fault.RouterOSLostReply)
	_, err := get(t.Context(), c)
	wantFault(t, err, fault.SSHUnreachable, "closed by this process")
}

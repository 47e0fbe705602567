package rdssim

import (
	"io"
	"net"
	"time"

	"go.uber.org/zap"
	"golang.org/x/crypto/ssh"
)

// maxTranscript bounds what is remembered of past execs, in bytes of text.
const maxTranscript = 16 << 20

// Exec is one exec request as it was carried out.
type Exec struct {
	Command string    `json:"command"`
	Output  string    `json:"output"`
	At      time.Time `json:"at"`
}

// session carries out the one exec of a session; false: it is to hang.
func (a *Array) session(conn peer, channel ssh.Channel, request *ssh.Request) bool {
	var payload struct{ Command string }
	if err := ssh.Unmarshal(request.Payload, &payload); err != nil {
		reply(request, false)
		return true
	}
	reply(request, true)
	a.execs.Add(1)
	text := payload.Command
	started := a.now()
	if !a.before(conn, text) {
		return true
	}
	if a.strikes(Hang, text) {
		return false
	}
	output, failed := a.exec(a.ctx, text, a.strikes(NoSpace, text), a.allowed(conn.user))
	a.remember(Exec{Command: text, Output: output, At: started})
	a.opts.Logger.Info("console", zap.String("command", text), zap.String("output", output),
		zap.Duration("took", a.now().Sub(started)))
	a.answer(conn, channel, text, output, failed)
	return true
}

// answer sends the reply, or what a fault leaves of it.
func (a *Array) answer(conn net.Conn, channel ssh.Channel, text, output string, failed bool) {
	if a.strikes(DropAfter, text) {
		_ = conn.Close()
		return
	}
	if a.strikes(Garble, text) {
		output = a.garble(output)
	}
	if a.strikes(HalfReply, text) {
		output = output[:len(output)/2]
	}
	if _, err := io.WriteString(channel, output); err != nil {
		return
	}
	status := ssh.Marshal(struct{ Status uint32 }{a.exitStatus(failed)})
	// The client may have gone; the status is of no use to anybody else.
	_, _ = channel.SendRequest("exit-status", false, status)
}

// before lets latency and faults pass; false: the exec is not carried out.
func (a *Array) before(conn net.Conn, text string) bool {
	wait := a.opts.Latency
	if f, hit := a.strike(Delay, text); hit {
		wait += f.Delay
	}
	if !a.sleep(wait) {
		return false
	}
	if f, hit := a.strike(Reboot, text); hit {
		a.Reboot(f.Delay)
		return false
	}
	if a.strikes(DropBefore, text) {
		_ = conn.Close()
		return false
	}
	return true
}

// sleep waits, unless the array stops first.
func (a *Array) sleep(d time.Duration) bool {
	if d <= 0 {
		return a.ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-a.ctx.Done():
		return false
	}
}

// exitStatus is 1 after some failures of the last command only: on 7.24.4 it
// was seen in 1 to 11 of 20 tries.
func (a *Array) exitStatus(failed bool) uint32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if failed && a.random.IntN(2) == 0 {
		return 1
	}
	return 0
}

func (a *Array) remember(e Exec) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.transcript = append(a.transcript, e)
	a.remembered += e.length()
	for a.remembered > maxTranscript {
		a.remembered -= a.transcript[0].length()
		a.transcript = a.transcript[1:]
	}
}

func (e Exec) length() int { return len(e.Command) + len(e.Output) }

package routeros

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// replyLimit bounds the reply of one exec in bytes: a list of some twenty thousand disks.
const replyLimit = 16 << 20

var (
	errExecRefused  = errors.New("the array refused the exec request")
	errReplyTooLong = fmt.Errorf("the reply is longer than %d MiB", replyLimit>>20)
)

// outcome is what became of one exec.
type outcome struct {
	sent  bool // it may have run
	reply []byte
	err   error
}

// An exchange is claimed once: by its goroutine to send, or by a caller who gives up first.
const (
	unclaimed int32 = iota
	claimedToSend
	givenUp
)

// exchange is one exec over a link, in a goroutine of its own: nothing in x/crypto/ssh takes a
// context. It holds its slot until the array has closed the channel or the connection is gone.
type exchange struct {
	link           *link
	text           string
	sessionTimeout time.Duration
	execTimeout    time.Duration
	claim          atomic.Int32
	result         chan outcome
}

// exec runs text and waits for its reply until ctx ends.
func (l *link) exec(ctx context.Context, text string, limits Config, slot *slot) outcome {
	x := &exchange{
		link: l, text: text,
		sessionTimeout: limits.SessionTimeout, execTimeout: limits.ExecTimeout,
		result: make(chan outcome, 1),
	}
	if err := ctx.Err(); err != nil {
		return outcome{err: err}
	}
	if deadline, ok := ctx.Deadline(); ok {
		x.execTimeout = min(x.execTimeout, time.Until(deadline))
	}
	slot.hold()
	if !l.tasks.start(func() { defer slot.leave(); x.run() }) {
		slot.leave()
		return outcome{err: errClosed}
	}
	select {
	case o := <-x.result:
		return o
	case <-ctx.Done():
		return x.giveUp(ctx.Err())
	}
}

// giveUp is for a caller whose context has ended. A cancelled exec goes on in the background,
// so that it neither cuts off others nor overlaps with its own repetition. One past its
// deadline takes the connection down: what the array does with it is not known any more.
func (x *exchange) giveUp(why error) outcome {
	if x.claim.CompareAndSwap(unclaimed, givenUp) {
		return outcome{err: why}
	}
	select {
	case o := <-x.result:
		return o
	default:
	}
	if errors.Is(why, context.DeadlineExceeded) {
		x.link.drop(fmt.Errorf("an exec did not reply before its deadline: %w", why))
		return <-x.result
	}
	return outcome{sent: true, err: why}
}

func (x *exchange) run() {
	channel, closed, err := x.open()
	if err != nil {
		x.result <- outcome{err: err}
		return
	}
	if x.claim.CompareAndSwap(unclaimed, claimedToSend) {
		defer x.dropAfter(x.execTimeout, "an exec did not reply").Stop()
		x.result <- converse(channel, x.text)
	}
	defer x.dropAfter(x.sessionTimeout, "the array did not close a session").Stop()
	_ = channel.Close()
	<-closed
}

// dropAfter is a watchdog: a channel that hangs cannot be trusted, nor can its connection.
func (x *exchange) dropAfter(d time.Duration, what string) *time.Timer {
	return time.AfterFunc(d, func() { x.link.drop(fmt.Errorf("%s within %s", what, d)) })
}

type opening struct {
	channel ssh.Channel
	err     error
}

// open opens a session. Opening one has hung on real arrays (facts/predecessor.md §2.6), so
// past its deadline the connection is dropped. closed tells that the array closed the channel.
//
// Nobody waits for its goroutine: a session that is asked for in the very moment in which the
// connection dies makes x/crypto/ssh wait for ever (its mux forgets the open channels first and
// then takes new ones, and a failed write is no error). Such a goroutine stays; it is small.
func (x *exchange) open() (channel ssh.Channel, closed <-chan struct{}, err error) {
	defer x.dropAfter(x.sessionTimeout, "the array did not open a session").Stop()
	opened, done := make(chan opening, 1), make(chan struct{})
	go func() {
		defer close(done)
		channel, requests, err := x.link.client.OpenChannel("session", nil)
		opened <- opening{channel, err}
		if err == nil {
			ssh.DiscardRequests(requests) // exit status among them: it lies (facts/routeros.md §4.1)
		}
	}()
	select {
	case o := <-opened:
		if _, refused := errors.AsType[*ssh.OpenChannelError](o.err); o.err != nil && !refused {
			x.link.drop(o.err)
		}
		return o.channel, done, o.err
	case <-x.link.dead:
		return nil, nil, x.link.cause
	}
}

// converse sends the command and reads what it prints. Session.Start of x/crypto/ssh is not
// used, as its error has the command's text in it.
func converse(channel ssh.Channel, text string) outcome {
	accepted, err := channel.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{text}))
	if err != nil {
		return outcome{sent: true, err: err}
	}
	if !accepted {
		return outcome{err: errExecRefused}
	}
	go func() { _, _ = io.Copy(io.Discard, channel.Stderr()) }() // empty on RouterOS, but unread it would block
	var reply bytes.Buffer
	n, err := io.Copy(&reply, io.LimitReader(channel, replyLimit+1))
	if err == nil && n > replyLimit {
		err = errReplyTooLong
		_, _ = io.Copy(io.Discard, channel)
	}
	return outcome{sent: true, reply: reply.Bytes(), err: err}
}

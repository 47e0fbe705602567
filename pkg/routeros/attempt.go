package routeros

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"golang.org/x/crypto/ssh"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// attempt is one attempt of a Run.
type attempt struct {
	client  *Client
	command telemetry.Command
	script  script
	link    *link
	slot    *slot
	number  int // from 1
}

// run tells also whether the exec may have been sent.
func (a attempt) run(ctx context.Context) (reply *Reply, sent bool, err error) {
	spanCtx, span := telemetry.Start(ctx, "routeros "+string(a.command), telemetry.Client, append([]telemetry.Attr{
		telemetry.RouterOSCommand(a.command), telemetry.Attempt(a.number),
	}, a.client.attrs...)...)
	o := a.link.exec(spanCtx, a.script.text, a.client.config, a.slot)
	if o.sent {
		reply, err = a.read(o)
	} else {
		err = a.notSent(o.err)
	}
	span.Set(telemetry.ReplyBytes(len(o.reply)))
	span.End(err)
	return reply, o.sent, err
}

// read makes a Reply, or an error, or both, of what came back. A reply that has its sentinel
// counts, however the channel ended.
func (a attempt) read(o outcome) (*Reply, error) {
	got := scan(a.script, string(o.reply))
	switch {
	case !got.ended:
		return nil, a.lost(o)
	case got.garbled:
		return got.reply, fault.Errorf("", fault.UnknownOutcome, "the reply came garbled (%d bytes); whether the command took effect is not known", len(o.reply))
	case got.failed:
		return got.reply, consoleError(a.client.config.User, got.reply.Version, got.failure)
	case !got.ok:
		return got.reply, parseError(a.client.config.User, got.reply.Version, strings.Join(got.stray, " | "))
	default:
		return got.reply, nil
	}
}

func (a attempt) lost(o outcome) error {
	why := cmp.Or(a.why(o.err), errNoSentinel)
	return fault.Errorf("", fault.UnknownOutcome, "the reply was lost after %d bytes (%w); whether the command took effect is not known", len(o.reply), why)
}

var errNoSentinel = errors.New("the array ended it early")

// why prefers the reason for which the connection was dropped to what that looks like on a channel.
func (a attempt) why(err error) error {
	if !a.link.alive() && a.link.cause != nil && !errors.Is(err, context.Canceled) {
		return a.link.cause
	}
	return err
}

func (a attempt) notSent(err error) error {
	refused, ok := errors.AsType[*ssh.OpenChannelError](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled):
		return fault.Wrap("nothing was sent, the session was not open yet", err)
	case errors.Is(err, errExecRefused):
		return fault.Errorf("", fault.RouterOSRejected, "%w; does the group of user %s have the policies ssh,read,write?", err, a.client.config.User)
	case ok:
		return a.refusedSession(refused)
	default:
		return fault.Errorf("nothing was sent", fault.SSHUnreachable, "%w", a.why(err))
	}
}

// refusedSession: who is alone on a connection and gets no session there tries a new one, as a
// channel may be stuck on the array. Where others are at work it stays.
func (a attempt) refusedSession(refused *ssh.OpenChannelError) error {
	err := fault.Errorf("", fault.SSHUnreachable, "the array opens no session (%s: %s); lower --rds-ssh-sessions, or raise max-sessions of ssh in /ip/service",
		refused.Reason, printable(refused.Message, strayWidth))
	if a.client.config.Sessions == 1 {
		a.link.drop(err)
	}
	return err
}

package check

import (
	"context"
	"errors"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

func (t *trial) isLive(ctx context.Context, token string) bool {
	status, err := t.Sessions.Status(ctx, t.scratch.NQN(token), t.hosts[0].nqn)
	return err != nil || status.Link == nvme.LinkLive // what cannot be told counts as live: nothing is proven
}

// cut is the driver's fence: the export ends and its NQN goes with it.
func (t *trial) cut(ctx context.Context) error {
	const subject = "end of the export"
	if t.live && !t.isLive(ctx, firstToken) {
		t.found.add(Warning, "live session", "run it again", "it has ended before its time, so what the end of the export does to one is not tried")
		t.live = false
	}
	seen, err := t.scratch.Unexport(ctx)
	switch {
	case t.failed(subject, err):
		return errStop
	case err != nil:
		t.found.differs(Failed, subject, Difference{"it refuses to end an export: " + said(err), "a volume cannot be taken from a node", noSetting})
		return errStop
	case seen.Exported:
		t.found.differs(Failed, subject, Difference{"it takes nvme-tcp-export=no and goes on to export", "a volume cannot be taken from a node", noSetting})
		return errStop
	case !t.live:
		t.found.ok(subject, "it is taken; whether it ends a live session was not tried")
	case t.await(ctx, func() bool { return !t.isLive(ctx, firstToken) }):
		t.found.ok(subject, "a live session ends with it")
	case ctx.Err() != nil:
		return errStop
	default:
		t.found.differs(Failed, subject, Difference{"a live session goes on after the export has ended",
			"a node from which a volume was taken can still write to it, while another uses it: data can be lost", "never use the taint out-of-service and never force-delete pods of a node that still runs; please report it"})
	}
	return nil
}

// exportAgain is the next node's turn: another NQN. The old session must not come back.
func (t *trial) exportAgain(ctx context.Context) error {
	const subject = "change of the NQN"
	var hosts []string
	if t.acl {
		hosts = append(hosts, t.hosts[0].nqn)
	}
	seen, err := t.scratch.Export(ctx, secondToken, hosts...)
	switch {
	case t.failed(subject, err):
		return errStop
	case err != nil:
		t.found.differs(Failed, subject, Difference{"it refuses to export again under another NQN: " + said(err), "a volume cannot be attached a second time", noSetting})
		return errStop
	}
	if err := t.judgeNQN(seen, secondToken); err != nil || !t.live {
		return err
	}
	switch {
	case t.comesBack(ctx):
		t.found.differs(Failed, subject, Difference{"a session under the old NQN lives again under the new one",
			"a node that was cut off can write what it still holds, while another uses the volume: data can be lost", "never use the taint out-of-service and never force-delete pods of a node that still runs; please report it"})
	case ctx.Err() != nil:
		return errStop
	default:
		t.found.ok(subject, "the old session does not come back")
	}
	return nil
}

// comesBack watches the old session for as long as it takes to try again a few times.
func (t *trial) comesBack(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, t.Watch)
	defer cancel()
	return t.await(ctx, func() bool { return t.isLive(ctx, firstToken) })
}

func (t *trial) hangUp(ctx context.Context, token string, host identity) error {
	if err := t.disconnect(ctx, session{t.scratch.NQN(token), host.nqn}); err != nil {
		t.found.add(Failed, "disconnect", "", "%v", err)
		return errStop
	}
	return nil
}

// disconnect tries again while something, such as a program of the host that looks at new disks, uses the device.
func (t *trial) disconnect(ctx context.Context, s session) error {
	var err error
	done := t.await(ctx, func() bool {
		ctx, cancel := context.WithTimeout(ctx, t.Patience)
		defer cancel()
		err = t.Sessions.Disconnect(ctx, s.nqn, s.host, telemetry.DisconnectRollback)
		return err == nil
	})
	if !done && err == nil {
		err = errors.New("it was interrupted")
	}
	return err
}

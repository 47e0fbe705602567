package check

import (
	"context"
	"errors"
	"slices"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// session is a connection that was asked for.
type session struct {
	nqn, host string
}

// reconnect: a session that was cut asks again soon, so that one that comes back is seen to.
const reconnect, keepSession = 1, 60 // seconds

// dialNVMe connects as a host to the export of a token.
func (t *trial) dialNVMe(ctx context.Context, token string, host identity) (nvme.Device, error) {
	ctx, cancel := context.WithTimeout(ctx, t.Patience)
	defer cancel()
	nqn := t.scratch.NQN(token)
	t.made = append(t.made, session{nqn, host.nqn})
	return t.Sessions.Connect(ctx, nvme.Target{
		NQN: nqn, HostNQN: host.nqn, HostID: host.id, Portals: t.Portals,
		Options: nvme.Options{NrIOQueues: 1, ReconnectDelay: reconnect, CtrlLossTmo: keepSession},
	})
}

func (t *trial) connect(ctx context.Context) error {
	const subject = "connect"
	if t.Sessions == nil {
		t.found.skip("live session", "%s: what happens to one when the export ends or the NQN changes, and whether a host sees growth, is not tried", t.NoHost)
		return nil
	}
	d, err := t.dialNVMe(ctx, firstToken, t.hosts[0])
	switch {
	case err != nil:
		t.found.add(Failed, subject, "", "a volume is exported to this machine, and it cannot connect: %v", err)
	case d.Size != firstSize:
		t.found.differs(Failed, subject, Difference{"a host sees another size: " + sizes(firstSize, d.Size), "the node refuses a device that is smaller than its volume", noSetting})
		t.live = true
	default:
		t.live = true
		t.found.ok(subject, "this machine is connected, and its device has the right size")
	}
	return nil
}

// stranger: a host that is not on the list.
func (t *trial) stranger(ctx context.Context) error {
	if !t.live || !t.acl {
		return nil
	}
	const subject = "a host that is not allowed"
	_, err := t.dialNVMe(ctx, firstToken, t.hosts[2])
	switch {
	case err == nil:
		t.found.differs(Failed, subject, Difference{"it lets in a host that is not in nvme-tcp-server-allow-host-name",
			"the secret part of the NQN alone protects a volume from other hosts", "keep the storage network closed to all but the nodes; --rds-host-acl off says what is true"})
		return t.hangUp(ctx, firstToken, t.hosts[2])
	case fault.ReasonOf(err) == fault.NVMeDenied:
		t.found.ok(subject, "it is refused")
	default:
		t.found.add(Warning, subject, "", "it does not get in, but not because it is refused: %v", err)
	}
	return nil
}

// twoHosts: what a live migration needs.
func (t *trial) twoHosts(ctx context.Context) error {
	const subject = "two allowed hosts"
	if !t.acl {
		t.found.skip(subject, "no allowed host is set")
		return nil
	}
	d := Difference{Consequence: "a raw block volume cannot be given to a second node: no live migration of virtual machines", Setting: "do not use ReadWriteMany volumes; everything else is as it was"}
	both := []string{t.hosts[0].nqn, t.hosts[1].nqn}
	seen, err := t.scratch.Allow(ctx, both...)
	switch {
	case t.failed(subject, err):
		return errStop
	case err != nil:
		d.What = "it refuses a list of hosts, separated by a comma: " + said(err)
		t.found.differs(Warning, subject, d)
		return nil
	case !slices.Equal(seen.Hosts, both):
		d.What = "it takes a list of two hosts and shows " + hostsShown(seen.Hosts)
		t.found.differs(Warning, subject, d)
	case !t.live:
		t.found.ok(subject, "they are taken, and shown as they were set; whether both get in was not tried")
	default:
		if err := t.second(ctx, d); err != nil {
			return err
		}
	}
	_, err = t.scratch.Allow(ctx, t.hosts[0].nqn)
	if t.failed(subject, err) {
		return errStop
	}
	return nil
}

// second connects the other host of the list, and looks after the first.
func (t *trial) second(ctx context.Context, d Difference) error {
	const subject = "two allowed hosts"
	if _, err := t.dialNVMe(ctx, firstToken, t.hosts[1]); err != nil {
		d.What = "it takes a list of two hosts and does not let in the second: " + said(err)
		t.found.differs(Warning, subject, d)
		return nil
	}
	if err := t.hangUp(ctx, firstToken, t.hosts[1]); err != nil {
		return err
	}
	if !t.isLive(ctx, firstToken) {
		d.What = "the session of the first host ends when a second is allowed"
		t.found.differs(Warning, subject, d)
		return nil
	}
	t.found.ok(subject, "they are taken, and both get in")
	return nil
}

func (t *trial) seesGrowth(ctx context.Context, want uint64) {
	if !t.live {
		return
	}
	const subject = "growth seen by the host"
	ctx, cancel := context.WithTimeout(ctx, t.Patience)
	defer cancel()
	if _, err := t.Sessions.Rescan(ctx, t.scratch.NQN(firstToken), t.hosts[0].nqn, want); err != nil {
		t.found.differs(Warning, subject, Difference{"a connected host does not see a new size: " + said(err),
			"a volume that a pod uses grows on the array only; its file system does not", "restart the pods that use the volume: it is then connected anew"})
		return
	}
	t.found.ok(subject, "it sees the new size while connected")
}

func (t *trial) isLive(ctx context.Context, token string) bool {
	status, err := t.Sessions.Status(ctx, t.scratch.NQN(token), t.hosts[0].nqn)
	return err != nil || status.Link == nvme.LinkLive // what cannot be told counts as live: nothing is proven
}

// cut is the driver's fence: the export ends and its NQN goes with it.
func (t *trial) cut(ctx context.Context) error {
	const subject = "end of the export"
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
	if t.comesBack(ctx) {
		t.found.differs(Failed, subject, Difference{"a session under the old NQN lives again under the new one",
			"a node that was cut off can write what it still holds, while another uses the volume: data can be lost", "never use the taint out-of-service and never force-delete pods of a node that still runs; please report it"})
		return nil
	}
	t.found.ok(subject, "the old session does not come back")
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

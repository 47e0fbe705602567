package check

import (
	"context"
	"slices"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
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

package check

import (
	"context"
	"slices"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// export: one host, one NQN, in one command.
func (t *trial) export(ctx context.Context) error {
	const subject, setting = "one allowed host", "--rds-host-acl off: then only one node can have a volume, and the secret part of its NQN alone protects it"
	if !t.r.config.HostACL {
		t.found.skip(subject, "--rds-host-acl is off")
		return t.exportToAnybody(ctx)
	}
	seen, err := t.scratch.Export(ctx, firstToken, t.hosts[0].nqn)
	switch {
	case t.failed(subject, err):
		return errStop
	case err != nil:
		t.found.differs(Failed, subject, Difference{"it refuses an export with nvme-tcp-server-allow-host-name: " + said(err), "no volume can be attached while --rds-host-acl is on", setting})
	case !seen.Exported:
		t.found.differs(Failed, subject, Difference{"it takes an export and does not show it", "no volume can be attached", noSetting})
		return errStop
	case !slices.Equal(seen.Hosts, []string{t.hosts[0].nqn}):
		t.found.differs(Failed, subject, Difference{"it takes one allowed host and shows " + hostsShown(seen.Hosts), "no volume can be attached while --rds-host-acl is on", setting})
	default:
		t.acl = true
		t.found.ok(subject, "it is taken, and shown as it was set")
	}
	if !t.acl {
		return t.exportToAnybody(ctx)
	}
	return t.judgeNQN(seen, firstToken)
}

// exportToAnybody goes on without an ACL. The volume is empty.
func (t *trial) exportToAnybody(ctx context.Context) error {
	const subject = "export without allowed hosts"
	if _, err := t.scratch.Unexport(ctx); t.failed(subject, err) {
		return errStop
	}
	seen, err := t.scratch.Export(ctx, firstToken)
	if err == nil && seen.Exported {
		t.found.ok(subject, "it is taken: the rest is tried so")
		return t.judgeNQN(seen, firstToken)
	}
	if !t.failed(subject, err) {
		t.found.differs(Failed, subject, Difference{"it refuses that too: " + said(err), "no volume can be attached", noSetting})
	}
	return errStop
}

// judgeNQN: an export must have the NQN that was set in the same command, the first time and every other.
func (t *trial) judgeNQN(seen rds.Seen, token string) error {
	subject := "NQN"
	if token == secondToken {
		subject = "next NQN"
	}
	if want := t.scratch.NQN(token); seen.NQN != want {
		t.found.differs(Failed, subject, Difference{"the NQN was set to " + want + " and is shown as " + seen.NQN,
			"no volume can be attached a second time: the driver trusts only an export under the new NQN it has drawn", noSetting})
		return errStop
	}
	t.found.ok(subject, "it is shown as it was set")
	return nil
}

func (t *trial) port(ctx context.Context) error {
	const subject = "NVMe/TCP port"
	for _, address := range t.r.config.Addresses {
		if err := t.r.config.Dial(ctx, address); err != nil {
			t.found.add(Failed, subject, "check the address, the network and firewalls between here and the array", "a volume is exported, and %s is not reached: %v", address, err)
			continue
		}
		t.found.ok(subject, "a volume is exported, and %s answers", address)
	}
	return nil
}

package nvme

import (
	"context"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// Status is as with a Host. A loop device is never away: it is there or it is not.
func (l *Loop) Status(ctx context.Context, nqn, hostNQN string) (Status, error) {
	d, there, err := l.attached(ctx, l.attachment(hostNQN, nqn))
	if err != nil {
		return Status{}, fault.E("look at the loop device of "+nqn, fault.Unavailable, err)
	}
	if !there {
		return Status{Link: LinkGone}, nil
	}
	return Status{Link: LinkLive, Live: 1, Num: d.Num, Path: d.Path}, nil
}

// Statuses is Status for every NQN that is attached under the host NQN.
func (l *Loop) Statuses(ctx context.Context, hostNQN string) (map[string]StatusOrError, error) {
	nqns, err := l.Attached(hostNQN)
	if err != nil {
		return nil, err
	}
	statuses := make(map[string]StatusOrError, len(nqns))
	for _, nqn := range nqns {
		s, err := l.Status(ctx, nqn, hostNQN)
		statuses[nqn] = StatusOrError{s, err}
	}
	return statuses, nil
}

// Refresh has nothing to look for: a loop device has no namespaces.
func (l *Loop) Refresh(context.Context, string, string) error { return nil }

// Revoke cannot take a loop device from its users: it goes when they do. Disconnect says whether.
func (l *Loop) Revoke(context.Context, string, string, telemetry.DisconnectReason) error { return nil }

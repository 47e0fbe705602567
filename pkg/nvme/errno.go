package nvme

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// refusal is what an errno of the write to /dev/nvme-fabrics means (facts/nvme.md §1.2).
type refusal struct {
	class fault.Class
	hint  string
}

func refusalOf(err error) refusal {
	errno, _ := errors.AsType[syscall.Errno](err)
	switch errno {
	case unix.EIO:
		return refusal{fault.NVMeDenied, "the target knows no such NQN or does not allow this host (the kernel log says which); an array that is still starting answers the same"}
	case unix.EKEYREJECTED, unix.ENOKEY, unix.ENOTCONN:
		return refusal{fault.NVMeDenied, "the target rejected the authentication"}
	case unix.ECONNREFUSED:
		return refusal{fault.NVMeConnectRefused, "nothing listens at the portal: check the address and that the array exports a volume over NVMe/TCP"}
	case unix.EHOSTUNREACH, unix.ENETUNREACH, unix.ENETDOWN:
		return refusal{fault.Unavailable, "the portal cannot be reached: check the node's network and routes"}
	case unix.ETIMEDOUT:
		return refusal{fault.NVMeConnectTimeout, "the portal does not answer: check the address, the network and firewalls"}
	case unix.EINVAL:
		return refusal{fault.Unavailable, "the kernel rejected the connect: it lacks the transport nvme-tcp, another controller has the same host NQN with another host ID, " +
			"or the target allows one controller only (the kernel log says which)"}
	case unix.ENOMEM:
		return refusal{fault.Unavailable, "the target has no queues left: lower nrIoQueues or detach other volumes"}
	case unix.EOPNOTSUPP:
		return refusal{fault.Precondition, "the target needs what this kernel does not have, such as authentication"}
	case unix.EACCES, unix.EPERM:
		return refusal{fault.Precondition, "the node plugin must run privileged"}
	default:
		return refusal{fault.Unavailable, "the kernel could not make the controller"}
	}
}

// refused makes the error of a failed create. The option string is not part of it: it may hold
// keys one day.
func refused(err error) error {
	if known, ok := errors.AsType[*fault.Error](err); ok {
		return fault.Wrap("create the controller", known)
	}
	r := refusalOf(err)
	return fault.Errorf("create the controller", r.class, "%w: %s", err, r.hint)
}

// predialFailed classifies what our own TCP connect says.
func predialFailed(ctx context.Context, err error) error {
	const op = "reach the portal over TCP"
	if ctx.Err() != nil {
		return fault.Wrap(op, fmt.Errorf("%w (%w)", err, context.Cause(ctx)))
	}
	if timeout, ok := errors.AsType[net.Error](err); (ok && timeout.Timeout()) || errors.Is(err, os.ErrDeadlineExceeded) {
		return fault.Errorf(op, fault.NVMeConnectTimeout, "%w: %s", err, refusalOf(unix.ETIMEDOUT).hint)
	}
	r := refusalOf(err)
	return fault.Errorf(op, r.class, "%w: %s", err, r.hint)
}

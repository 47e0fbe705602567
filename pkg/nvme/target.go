package nvme

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// maxNQN is the longest qualified name in bytes (NVMe base specification, NVMF_NQN_SIZE - 1).
const maxNQN = 223

// Portal is where a target listens.
type Portal struct {
	Address string // numeric IP: the kernel does no DNS
	Port    int    // 4420 as a rule; the kernel's own default is the discovery port
}

func (p Portal) String() string { return net.JoinHostPort(p.Address, strconv.Itoa(p.Port)) }

// Options are those of a controller. 0 leaves the kernel's default.
type Options struct {
	NrIOQueues     int
	CtrlLossTmo    int // seconds a lost controller is kept; -1 = for ever
	ReconnectDelay int // seconds
	KeepAliveTmo   int // seconds
	FastIOFailTmo  int // seconds after which I/O to a lost controller fails; -1 = off
}

// Target is a volume to connect to, and as whom.
type Target struct {
	NQN     string
	HostNQN string
	HostID  string // a UUID; always sent with the host NQN (facts/nvme.md §1.2)
	Portals []Portal
	Options Options
	// Fenced says that the NQN is never used again once the volume was taken from this host. Only
	// then may the kernel keep what was written for a session that comes later.
	Fenced bool
}

func (t Target) validate() error {
	if _, err := uuid.Parse(t.HostID); err != nil {
		return fmt.Errorf("host ID %q is not a UUID", t.HostID)
	}
	if len(t.Portals) == 0 {
		return errors.New("no portal: address and port of the target are needed")
	}
	errs := []error{validNQN("NQN", t.NQN), validNQN("host NQN", t.HostNQN)}
	for _, p := range t.Portals {
		errs = append(errs, p.validate())
	}
	return errors.Join(errs...)
}

// validNQN keeps out what would end the token in the option string, or leave a directory of
// the loop connector.
func validNQN(what, nqn string) error {
	bad := func(r rune) bool { return r <= ' ' || r == ',' || r == '/' || r >= 0x7f }
	switch {
	case !strings.HasPrefix(nqn, "nqn."):
		return fmt.Errorf("%s %q does not begin with the letters nqn and a dot", what, nqn)
	case len(nqn) > maxNQN:
		return fmt.Errorf("%s is %d bytes long, more than the %d NVMe allows", what, len(nqn), maxNQN)
	case strings.ContainsFunc(nqn, bad):
		return fmt.Errorf("%s %q has a character that no NQN of this driver may have", what, nqn)
	}
	return nil
}

func (p Portal) validate() error {
	if _, err := netip.ParseAddr(p.Address); err != nil {
		return fmt.Errorf("portal address %q is not a numeric IP address", p.Address)
	}
	if p.Port < 1 || p.Port > 65535 {
		return fmt.Errorf("portal port %d is not between 1 and 65535", p.Port)
	}
	return nil
}

// same compares addresses by value: sysfs shows them as they were once written.
func (p Portal) same(q Portal) bool {
	a, errA := netip.ParseAddr(p.Address)
	b, errB := netip.ParseAddr(q.Address)
	return errA == nil && errB == nil && a == b && p.Port == q.Port
}

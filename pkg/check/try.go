package check

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// Sizes of the scratch volume in bytes. They are no whole MiB on purpose.
const (
	firstSize = 64<<20 + 4096
	grownSize = 96<<20 + 8192
	// mostSize is the most there is at once: an array may take the duplicate beside the first.
	mostSize = max(grownSize, 2*firstSize)
)

// The tokens of its two exports.
const firstToken, secondToken = "00000001", "00000002"

// errStop ends the trial: what comes next cannot be tried. What was found has been said.
var errStop = errors.New("the rest cannot be tried")

// trial is one scratch volume.
type trial struct {
	*Trial
	r       *Result
	found   *findings
	scratch *rds.Scratch
	comment string
	hosts   [3]identity // let in first; let in as a second; never let in
	acl     bool        // the array takes the host ACL
	live    bool        // hosts[0] is connected
	lost    bool        // a command was sent, and no answer came
	made    []session   // connections to take down
}

// identity is what a host calls itself.
type identity struct {
	nqn, id string
}

// identityOf draws the same for the same nonce, and another for each letter. No node has it.
func identityOf(nonce, letter string) identity {
	id := uuid.NewSHA1(uuid.NameSpaceOID, []byte("rds-csi-driver check "+nonce+letter)).String()
	return identity{nqn: "nqn.2014-08.org.nvmexpress:uuid:" + id, id: id}
}

// longComment is as long as the driver's record gets: names at Kubernetes' limits, two nodes.
func longComment(nonce string) string {
	text := "rds-csi-driver check " + nonce + ", a scratch volume that may be removed "
	return text + strings.Repeat("0123456789abcde ", 60)[:900-len(text)]
}

// try makes the scratch volume, tries all that can be tried, and takes it away again whatever happened.
func (r *Result) try(ctx context.Context, usable bool) {
	if !usable || r.found.failedFor("rights") {
		r.found.add(Failed, "scratch volume", "", "nothing is tried, because of what is said above of the array")
		return
	}
	t := &trial{Trial: r.config.Trial, r: r, found: r.found, comment: longComment(r.config.Trial.Nonce)}
	for i, letter := range []string{"a", "b", "c"} {
		t.hosts[i] = identityOf(t.Nonce, letter)
	}
	var err error
	if t.scratch, err = r.config.Array.NewScratch(ctx, t.Nonce, t.comment); err != nil {
		r.found.add(Failed, "scratch volume", "", "%v", err)
		return
	}
	if room := t.scratch.Pool().Available(); room < mostSize {
		r.found.add(Failed, "scratch volume", "free space in the pool, or use another one", "pool %s has %d bytes for new volumes, %d are needed", t.scratch.Pool().MountPoint, room, mostSize)
		return
	}
	defer t.cleanUp(context.WithoutCancel(ctx))
	for _, step := range []func(context.Context) error{
		t.create, t.duplicate, t.export, t.port, t.connect, t.stranger, t.twoHosts, t.grow, t.cut, t.exportAgain,
	} {
		if ctx.Err() != nil || step(ctx) != nil {
			return
		}
	}
}

// failed says what became of a command where that is neither an answer to judge nor a surprise: no answer
// came, or a right is missing. It is false where the array has answered.
func (t *trial) failed(subject string, err error) bool {
	switch reason := fault.ReasonOf(err); {
	case err == nil:
		return false
	case denied(err):
		t.found.add(Failed, subject, "on the array: /user/group/set GROUP policy="+strings.Join(needed, ","), "the user may not do this: %v", err)
	case reason == fault.ReasonNoSpace:
		t.found.add(Failed, subject, "free space in the pool, or use another one", "%v", err)
	case reason == fault.RouterOSLostReply, reason == fault.ReasonTimeout, reason == fault.ReasonCanceled,
		reason == fault.SSHUnreachable, reason == fault.SSHAuth, reason == fault.SSHHostKey:
		t.lost = true
		t.found.add(Failed, subject, "", "the array did not answer: %v", err)
	default:
		return false
	}
	return true
}

// await polls until done, the end of ctx, or Patience.
func (t *trial) await(ctx context.Context, done func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, t.Patience)
	defer cancel()
	tick := time.NewTicker(min(t.Patience/100, time.Second/2))
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

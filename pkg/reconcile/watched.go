package reconcile

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/driver"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// watched is what the loop remembers of a volume between two looks.
type watched struct {
	state telemetry.MountState // at the last look
	away  time.Time            // since when no controller is live; zero: one is, or all are gone
	live  bool                 // a controller was live at the last look
	copy  time.Time            // since when somebody has its dead copy; zero: nobody
	told  bool                 // that somebody has

	healing    bool
	unblocking bool
	tried      time.Time     // when the last try began
	renewing   bool          // the last try was for a file system that had stopped
	paths      time.Time     // when further paths were last asked for
	pause      time.Duration // before the next try
	next       time.Time     // not before then
	failed     string        // why the last try failed
}

// copyGrace is how long the kernel may take to be done with a file system that nobody uses any more.
const copyGrace = 10 * time.Second

// held tells whether somebody has kept a dead copy of the volume.
func (w *watched) held() bool { return !w.copy.IsZero() && time.Since(w.copy) >= copyGrace }

// pathsInterval is how often a path that is missing is asked for: the volume works without.
const pathsInterval = time.Minute

// want is a volume that a look found something to do for: to unblock one that is busy, to heal another.
type want struct {
	id string
	w  *watched
	c  driver.Condition
}

// wants tells whether a volume is to be healed, released or given its paths now.
func (n *Node) wants(w *watched, c driver.Condition) bool {
	switch {
	case w.healing:
		return false
	case c.Release: // somebody waits for it
		return true
	case time.Now().Before(w.next):
		return false
	default:
		return c.Heal || c.Revoked || c.Missing > 0 && time.Since(w.paths) >= pathsInterval
	}
}

// healWanted begins with what has waited longest, so that volumes which fail, and fail slowly, leave others
// their turn.
func (n *Node) healWanted(ctx context.Context) {
	slices.SortStableFunc(n.wanted, func(a, b want) int { return a.w.tried.Compare(b.w.tried) })
	for _, wanted := range n.wanted {
		if wanted.c.Busy {
			n.unblock(ctx, wanted.w, wanted.id)
		} else {
			n.heal(ctx, wanted)
		}
	}
}

// outage measures how long no controller is live. The kernel reconnects by itself, or removes the
// controller, and with it the device.
func (n *Node) outage(ctx context.Context, w *watched, c driver.Condition) {
	switch {
	case c.Link == nvme.LinkAway && w.away.IsZero():
		w.away = time.Now()
		n.log.Warn("the target of a staged volume is away: its users wait, and the kernel tries to reach it",
			zap.String("volume_id", c.VolumeID), zap.String("detail", c.Detail))
	case c.Link == nvme.LinkLive && !w.away.IsZero():
		n.outageEnded(ctx, w, c, telemetry.ReconnectRecovered)
	case c.Link == nvme.LinkGone && (w.live || !w.away.IsZero()):
		n.outageEnded(ctx, w, c, telemetry.ReconnectLost)
	}
	if c.Link != "" {
		w.live = c.Link == nvme.LinkLive
	}
}

func (n *Node) outageEnded(ctx context.Context, w *watched, c driver.Condition, end telemetry.Reconnect) {
	var took time.Duration // a controller that went between two looks was not seen away
	if !w.away.IsZero() {
		took = time.Since(w.away)
	}
	w.away = time.Time{}
	n.metrics.RecordNVMeReconnect(ctx, end, took)
	n.log.Info("outage of a staged volume ended", zap.String("volume_id", c.VolumeID), zap.String("end", string(end)), zap.Duration("after", took))
}

// report says once that somebody still has the dead copy of a volume.
func (n *Node) report(w *watched, c driver.Condition) {
	switch {
	case len(c.HeldBy) == 0:
		w.copy, w.told = time.Time{}, false
	case w.copy.IsZero():
		w.copy = time.Now()
	case w.held() && !w.told:
		w.told = true
		n.log.Warn("a container still uses the dead copy of this volume: restart the pods that use it",
			zap.String("volume_id", c.VolumeID), zap.String("former_devices", strings.Join(c.HeldBy, ",")))
	}
}

// healed is the end of one try, or of an unblocking.
type healed struct {
	id        string
	err       error
	unblocked bool
}

// unblock ends what hangs on a volume that is to be released. Where too much is being ended already the next
// look asks again.
func (n *Node) unblock(ctx context.Context, w *watched, id string) {
	select {
	case n.unblocks <- struct{}{}:
	default:
		return
	}
	w.unblocking, w.tried = true, time.Now()
	n.heals.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, unblockTimeout)
		defer cancel()
		err := n.volumes.Unblock(ctx, id)
		<-n.unblocks
		n.ended <- healed{id: id, err: err, unblocked: true}
	})
}

// heal tries once, beside the loop. Where too many tries run already the next look asks again.
func (n *Node) heal(ctx context.Context, wanted want) {
	w, id := wanted.w, wanted.id
	select {
	case n.slots <- struct{}{}:
	default:
		return
	}
	w.healing, w.tried = true, time.Now()
	if wanted.c.Missing > 0 {
		w.paths = w.tried
	}
	w.renewing = wanted.c.Reason == telemetry.StaleIOError || wanted.c.Reason == telemetry.StaleReadOnly
	n.heals.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, healTimeout)
		defer cancel()
		err := n.volumes.Heal(ctx, id)
		<-n.slots
		n.ended <- healed{id: id, err: err}
	})
}

// afterHeal plans the next try. A call that is at the volume heals it itself or takes it down.
func (n *Node) afterHeal(h healed) {
	w := n.seen[h.id]
	if w == nil {
		return
	}
	if h.unblocked {
		w.unblocking = false
		if h.err != nil {
			n.log.Warn("a volume could not be released", zap.String("volume_id", h.id), zap.Error(h.err))
		}
		return
	}
	w.healing = false
	if h.err == nil {
		w.pause, w.failed, w.next = 0, "", time.Now().Add(lastHealPause)
		if w.renewing { // if it stops again at once, mounting it anew is no cure
			w.next = time.Now().Add(corruptPause)
		}
		return
	}
	w.pause = min(max(2*w.pause, firstHealPause), lastHealPause)
	if fault.KindOf(h.err) == fault.Corrupt { // an administrator needs the device to himself
		w.pause = corruptPause
	}
	w.next = time.Now().Add(w.pause)
	if fault.KindOf(h.err) == fault.InFlight || errors.Is(h.err, context.Canceled) || h.err.Error() == w.failed {
		return
	}
	w.failed = h.err.Error()
	n.log.Warn("a stale volume could not be healed; it is tried again", zap.String("volume_id", h.id), zap.Error(h.err))
}

package reconcile

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/driver"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

const (
	// nodeInterval is the pace of looking at the staged volumes where no kernel event comes.
	nodeInterval = 2 * time.Second
	// A look may take one part in lookShare of the time, and is due after slowestInterval at the latest.
	lookShare       = 20
	slowestInterval = 4 * time.Second
	// eventDelay is how long after a kernel event a look is due. Events come in bursts, some ten for a
	// connect, and a look among them would take the processor from the call that causes them.
	eventDelay = 500 * time.Millisecond
	// healTimeout bounds one try: a check of a large file system takes minutes.
	healTimeout = 30 * time.Minute
	// healsAtOnce bounds tries that run beside each other, and so it does unblockings: 100 volumes come back,
	// or are lost, together when an array has rebooted.
	healsAtOnce = 8
	// After a try that failed, the next waits for so long.
	firstHealPause, lastHealPause = time.Second, 3 * time.Second
	// unblockTimeout bounds the removal of controllers.
	unblockTimeout = time.Minute
	// corruptPause is that for a file system which only an administrator can repair.
	corruptPause = 5 * time.Minute
	// staleAfter is how old a look may be for the gauges to show it: many looks, so that a busy node keeps
	// them, and less than the alerts wait.
	staleAfter = time.Minute
)

// Volumes are those staged on this node. *driver.Staged fits.
type Volumes interface {
	// Look gives those that can be looked at, also beside an error.
	Look(ctx context.Context) ([]driver.Condition, error)
	Heal(ctx context.Context, id string) error
	Unblock(ctx context.Context, id string) error
}

// Node looks at every staged volume all the time: it measures outages, which the kernel mends by
// itself, and heals what it does not mend. It never touches a mount that could hang.
type Node struct {
	volumes Volumes
	wake    <-chan struct{} // kernel events; nil: none
	metrics *telemetry.Metrics
	tracer  *telemetry.Tracer
	log     *zap.Logger

	seen  map[string]*watched // by volume id; of Run alone
	slots chan struct{}
	// unblocks are slots of their own: what they end may have all the others.
	unblocks chan struct{}
	heals    sync.WaitGroup
	ended    chan healed
	check    atomic.Pointer[telemetry.MountCheck]
	wanted   []want // by the look under way
	cause    string // why the volumes could not be listed, to say it once

	events  NodeEvents
	waiting bool // the Node was told that volumes wait for the array
}

// NodeEvents tells people what happened to this node. It returns at once and never fails. *kube.Events fits.
type NodeEvents interface {
	Node(reason telemetry.EventReason, message string)
}

// NodeConfig is what a Node needs.
type NodeConfig struct {
	Volumes Volumes
	Wake    <-chan struct{} // receives when a look is worth it; nil: look by the clock only
	Metrics *telemetry.Metrics
	Tracer  *telemetry.Tracer
	Events  NodeEvents // nil: nobody is told
	Log     *zap.Logger
}

// NewNode makes a Node. Nothing happens before Run.
func NewNode(c NodeConfig) *Node {
	return &Node{
		volumes: c.Volumes, wake: c.Wake, metrics: c.Metrics, tracer: c.Tracer, events: c.Events, log: c.Log,
		seen: map[string]*watched{}, slots: make(chan struct{}, healsAtOnce), unblocks: make(chan struct{}, healsAtOnce), ended: make(chan healed),
	}
}

// Check is the last look at all volumes, for the gauges; what is too old is not known. It never blocks.
func (n *Node) Check() telemetry.MountCheck {
	c := n.check.Load()
	switch {
	case c == nil:
		return telemetry.MountCheck{}
	case time.Since(c.At) > staleAfter:
		return telemetry.MountCheck{At: c.At}
	default:
		return *c
	}
}

// Run looks until ctx ends, and then waits for what it has begun, which ends with ctx.
func (n *Node) Run(ctx context.Context) {
	defer n.drain()
	for {
		began := time.Now()
		n.lookAtAll(ctx)
		wake, looked := n.wake, time.Now()
		pause := pace(looked.Sub(began))
		timer := time.NewTimer(max(nodeInterval, pause))
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case h := <-n.ended:
				n.afterHeal(h)
			case <-wake: // let further events pass until the look
				wake = nil
				timer.Reset(max(eventDelay, pause-time.Since(looked)))
			case <-timer.C:
				waiting = false
			}
		}
	}
}

// pace is the least pause after a look that took so long: a node with many volumes, or a slow one, shall
// not spend more than a small part of its time on that.
func pace(took time.Duration) time.Duration {
	return min(lookShare*took, slowestInterval)
}

// drain waits for the tries under way, whose context has ended.
func (n *Node) drain() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.heals.Wait()
	}()
	for {
		select {
		case <-n.ended:
		case <-done:
			return
		}
	}
}

func (n *Node) lookAtAll(ctx context.Context) {
	ctx, span := n.tracer.StartRoot(ctx, "reconcile.node")
	conditions, err := n.volumes.Look(ctx)
	defer func() { span.End(err) }()
	count, listed := map[telemetry.MountState]int{}, map[string]bool{}
	n.wanted = n.wanted[:0]
	for _, c := range conditions {
		listed[c.VolumeID] = true
		if state := n.attend(ctx, c); state != "" {
			count[state]++
		}
	}
	n.healWanted(ctx)
	for id := range n.seen {
		if !listed[id] {
			delete(n.seen, id)
		}
	}
	n.tellWaiting()
	if err != nil {
		n.unknown(err)
		return
	}
	n.cause = ""
	n.check.Store(&telemetry.MountCheck{At: time.Now(), Known: true, Count: count})
}

// unknown: what cannot be looked at is absent from the gauges, and the time of the last look stays.
func (n *Node) unknown(err error) {
	n.check.Store(&telemetry.MountCheck{At: n.Check().At})
	if n.cause != err.Error() {
		n.cause = err.Error()
		n.log.Error("not all staged volumes can be looked at: what cannot is not healed", zap.Error(err))
	}
}

// attend does what the condition of a volume asks for, and gives its state.
func (n *Node) attend(ctx context.Context, c driver.Condition) telemetry.MountState {
	id := c.VolumeID
	w := n.seen[id]
	if w == nil {
		w = &watched{}
		n.seen[id] = w
	}
	if c.Busy {
		if (c.Release || c.Revoked) && !w.unblocking {
			n.wanted = append(n.wanted, want{id: id, w: w, c: c})
		}
		return w.state
	}
	n.outage(ctx, w, c)
	n.report(w, c)
	if n.wants(w, c) {
		n.wanted = append(n.wanted, want{id: id, w: w, c: c})
	}
	w.state = c.State
	if c.State == telemetry.MountHealthy && w.held() {
		w.state = telemetry.MountStale
	}
	return w.state
}

package kube

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/zap"
	core "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/record"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

const (
	// queuedEvents is how many may wait for their objects to be found; what comes on top is dropped, and counted.
	queuedEvents = 256
	// maxMessage is the longest message in bytes that the API server takes (core validation, event message).
	maxMessage = 1024
)

// EventsConfig is what Events is made of.
type EventsConfig struct {
	Client  *Client
	Driver  string    // CSI driver name: the source of the events
	Node    string    // Kubernetes' name of this node; "" in a controller
	Pod     stage.Pod // of this process; without a UID it gets no events
	Metrics *telemetry.Metrics
	Log     *zap.Logger
}

// Events posts Kubernetes events. Its methods return at once and never fail: an event that cannot be posted
// is dropped. client-go's recorder joins those that repeat, and limits their rate by object.
type Events struct {
	cfg         EventsConfig
	attachments *Attachments
	queue       chan notice
	claims      map[claimOf]knownClaim // of Run alone
	dropped     *dropped
	cause       string // why one could not be posted, to say it once; of the sink alone
}

// notice is an event whose objects have yet to be found.
type notice struct {
	reason  telemetry.EventReason
	message string
	volume  *stage.Record           // nil: of no volume
	known   []*core.ObjectReference // that it is about, beside the volume's claim
}

// NewEvents makes the queue. Nothing is posted before Run.
func NewEvents(c EventsConfig) *Events {
	return &Events{
		cfg: c, attachments: NewAttachments(c.Client, c.Driver, c.Node), queue: make(chan notice, queuedEvents),
		claims: map[claimOf]knownClaim{}, dropped: newDropped(c.Log),
	}
}

// Volume posts an event on the volume's claim and on the Pods it is published for; on the Node as well where
// data was dropped.
func (e *Events) Volume(r *stage.Record, reason telemetry.EventReason, message string) {
	n := notice{reason: reason, message: message, volume: &stage.Record{VolumeID: r.VolumeID, Attachment: r.Attachment}}
	for _, t := range r.Targets {
		if t.Pod.UID != "" {
			n.known = append(n.known, podReference(t.Pod))
		}
	}
	if reason == telemetry.EventVolumeFenced && e.cfg.Node != "" {
		n.known = append(n.known, nodeReference(e.cfg.Node))
	}
	e.enqueue(n)
}

// Node posts an event on this Node.
func (e *Events) Node(reason telemetry.EventReason, message string) {
	e.enqueue(notice{reason: reason, message: message, known: []*core.ObjectReference{nodeReference(e.cfg.Node)}})
}

// Pod posts an event on the Pod of this process, if it knows which that is.
func (e *Events) Pod(reason telemetry.EventReason, message string) {
	if e.cfg.Pod.UID != "" {
		e.enqueue(notice{reason: reason, message: message, known: []*core.ObjectReference{podReference(e.cfg.Pod)}})
	}
}

func (e *Events) enqueue(n notice) {
	select {
	case e.queue <- n:
	default: // nobody waits for an event
		e.dropped.add(n.reason)
	}
}

// Run posts until ctx ends.
func (e *Events) Run(ctx context.Context) {
	ctx = logr.NewContext(ctx, logr.Discard()) // client-go would log whole events; the sink says what fails
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	defer broadcaster.Shutdown()
	broadcaster.StartRecordingToSink(&sink{ctx: ctx, events: e})
	var saying sync.WaitGroup
	defer saying.Wait()
	saying.Go(func() { e.sayDropped(ctx) })
	recorder := broadcaster.NewRecorder(scheme.Scheme, core.EventSource{Component: e.cfg.Driver, Host: e.cfg.Node}).WithLogger(logr.Discard())
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-e.queue:
			e.post(ctx, recorder, n)
		}
	}
}

// sayDropped tells until ctx ends of what was dropped, also while Run waits for an API server that does not answer.
func (e *Events) sayDropped(ctx context.Context) {
	tick := time.NewTicker(droppedInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			e.dropped.say()
		}
	}
}

func (e *Events) post(ctx context.Context, recorder record.EventRecorder, n notice) {
	objects := n.known
	if n.volume != nil {
		claim, err := e.claim(ctx, n.volume)
		if err != nil {
			e.cfg.Log.Debug("the claim of a volume cannot be found: it gets no event", zap.String("volume_id", n.volume.VolumeID), zap.Error(err))
		} else {
			objects = append(objects, claim)
		}
	}
	kind := core.EventTypeNormal
	if n.reason.Warning() {
		kind = core.EventTypeWarning
	}
	for _, object := range objects {
		recorder.Event(object, kind, string(n.reason), shortened(n.message))
	}
}

func shortened(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	const end = " ..."
	return strings.ToValidUTF8(message[:maxMessage-len(end)], "") + end
}

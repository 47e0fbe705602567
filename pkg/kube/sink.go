package kube

import (
	"context"

	"go.uber.org/zap"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// sink takes what the recorder has let through to the API server. It is called by one goroutine.
type sink struct {
	ctx    context.Context // of Run: the recorder's calls have none
	events *Events
}

// Create implements record.EventSink.
func (s *sink) Create(event *core.Event) (*core.Event, error) {
	ctx, cancel := bounded(s.ctx)
	defer cancel()
	made, err := s.events.cfg.Client.core.Events(event.Namespace).CreateWithEventNamespaceWithContext(ctx, event)
	return made, s.done(event, err)
}

// Update implements record.EventSink; the recorder does not call it.
func (s *sink) Update(event *core.Event) (*core.Event, error) {
	ctx, cancel := bounded(s.ctx)
	defer cancel()
	made, err := s.events.cfg.Client.core.Events(event.Namespace).UpdateWithEventNamespaceWithContext(ctx, event)
	return made, s.done(event, err)
}

// Patch implements record.EventSink: one more of an event that is there.
func (s *sink) Patch(event *core.Event, data []byte) (*core.Event, error) {
	ctx, cancel := bounded(s.ctx)
	defer cancel()
	made, err := s.events.cfg.Client.core.Events(event.Namespace).PatchWithEventNamespaceWithContext(ctx, event, data)
	if apierrors.IsNotFound(err) { // it has expired: the recorder makes it anew
		return made, err
	}
	return made, s.done(event, err)
}

func (s *sink) done(event *core.Event, err error) error {
	e := s.events
	switch {
	case err == nil:
		e.cause = ""
		e.cfg.Metrics.RecordEventPosted(s.ctx, telemetry.EventReason(event.Reason))
	case s.ctx.Err() == nil && err.Error() != e.cause:
		e.cause = err.Error()
		e.cfg.Log.Warn("a Kubernetes event cannot be posted", zap.String("reason", event.Reason), zap.Error(err))
	}
	return err
}

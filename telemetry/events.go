package telemetry

import "context"

// EventReason is the reason of a Kubernetes event (docs/reference/events.md).
type EventReason string

// The reasons. Nothing else becomes an event.
const (
	EventStaleMount          EventReason = "StaleMount"
	EventStaleMountRecovered EventReason = "StaleMountRecovered"
	EventVolumeFenced        EventReason = "VolumeFenced"
	EventFormatRefused       EventReason = "FormatRefused"
	EventArrayUnreachable    EventReason = "ArrayUnreachable"
	EventArrayReachable      EventReason = "ArrayReachable"
)

// EventReasons lists all reasons.
func EventReasons() []EventReason {
	return []EventReason{
		EventStaleMount, EventStaleMountRecovered, EventVolumeFenced, EventFormatRefused, EventArrayUnreachable, EventArrayReachable,
	}
}

// Warning tells what needs somebody's eye from what only informs.
func (r EventReason) Warning() bool {
	return r != EventStaleMountRecovered && r != EventArrayReachable
}

// postedBy tells whether a process that serves component can post events of this reason.
func (r EventReason) postedBy(component Component) bool {
	return component.has(ComponentNode) || r == EventArrayUnreachable || r == EventArrayReachable
}

func newEventCounter(b *builder) counter[EventReason] {
	return newCounter(
		b.counter("rds_csi.events.posted", "{event}", "Kubernetes events that the API server took, by reason."),
		EventReasons(), kindAttrs[EventReason]("reason"))
}

// RecordEventPosted counts an event that the API server took.
func (m *Metrics) RecordEventPosted(ctx context.Context, reason EventReason) {
	m.check(ctx, m.events.add(ctx, reason, 1))
}

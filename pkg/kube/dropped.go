package kube

import (
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// droppedInterval is how often the log tells of events that were dropped.
const droppedInterval = time.Minute

// dropped counts the events that found the queue full, until a line of the log has told of them.
type dropped struct {
	log *zap.Logger

	mu     sync.Mutex
	logged time.Time
	counts map[telemetry.EventReason]int
}

func newDropped(log *zap.Logger) *dropped {
	return &dropped{log: log, counts: map[telemetry.EventReason]int{}}
}

// add counts one. The first is said at once.
func (d *dropped) add(reason telemetry.EventReason) {
	d.mu.Lock()
	d.counts[reason]++
	d.mu.Unlock()
	d.say()
}

// say tells of what has not been told of yet, unless it is too early for another line.
func (d *dropped) say() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.counts) == 0 || time.Since(d.logged) < droppedInterval {
		return
	}
	total := 0
	fields := make([]zap.Field, 0, len(d.counts)+1)
	for _, reason := range slices.Sorted(maps.Keys(d.counts)) {
		total += d.counts[reason]
		fields = append(fields, zap.Int(string(reason), d.counts[reason]))
	}
	d.log.Warn("Kubernetes events were dropped: more came than the API server took", zap.Int("dropped", total), zap.Dict("reasons", fields...))
	d.logged = time.Now()
	clear(d.counts)
}

package kube

import (
	"context"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

func TestDroppedEventsAreSaidOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logCore, logs := observer.New(zap.WarnLevel)
		e := NewEvents(EventsConfig{Node: "node-a", Log: zap.New(logCore)}) // nobody takes anything from the queue
		said := func() (lines []map[string]any) {
			for _, line := range logs.TakeAll() {
				lines = append(lines, line.ContextMap())
			}
			return lines
		}
		want := func(when string, want ...map[string]any) {
			t.Helper()
			if got := said(); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: log %v, want %v", when, got, want)
			}
		}
		for range queuedEvents {
			e.Node(telemetry.EventArrayUnreachable, "m")
		}
		want("the queue is full")
		e.Node(telemetry.EventArrayUnreachable, "m")
		want("the first", map[string]any{"dropped": int64(1), "reasons": map[string]any{"ArrayUnreachable": int64(1)}})
		for range 100 {
			e.Node(telemetry.EventArrayUnreachable, "m")
			e.Node(telemetry.EventArrayReachable, "m")
		}
		want("the same minute")

		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { // Run tells of those that were the last
			defer close(ended)
			e.sayDropped(ctx)
		}()
		time.Sleep(droppedInterval + time.Second)
		synctest.Wait()
		want("a minute later", map[string]any{"dropped": int64(200), "reasons": map[string]any{"ArrayUnreachable": int64(100), "ArrayReachable": int64(100)}})
		time.Sleep(10 * droppedInterval)
		synctest.Wait()
		want("nothing more was dropped")
		cancel()
		<-ended
	})
}

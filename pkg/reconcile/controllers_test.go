package reconcile

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// kernel has the controllers that a test says.
type kernel struct {
	mu   sync.Mutex
	live int
	err  error
	hung chan struct{}
}

func (k *kernel) States() (map[telemetry.ControllerState]int, error) {
	k.mu.Lock()
	hung := k.hung
	k.mu.Unlock()
	if hung != nil {
		<-hung
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return map[telemetry.ControllerState]int{telemetry.ControllerLive: k.live}, k.err
}

func (k *kernel) set(live int, err error, hung chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.live, k.err, k.hung = live, err, hung
}

func TestControllersAreCountedByALoopOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		k := &kernel{live: 3}
		c := NewControllers(k, telemetry.Noop(), zap.New(core))
		wants := func(when string, live int, known bool) {
			t.Helper()
			count, ok := c.States()
			if ok != known || count[telemetry.ControllerLive] != live {
				t.Errorf("%s: %v, known %t; want %d, %t", when, count, ok, live, known)
			}
		}
		wants("before the first look", 0, false)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.Run(ctx)
		}()
		after(controllersInterval)
		wants("as they are", 3, true)
		k.set(0, errors.New("sysfs is not there"), nil)
		after(3 * controllersInterval)
		wants("they cannot be read", 0, false)
		if n := logs.FilterMessageSnippet("cannot be counted").Len(); n != 1 {
			t.Errorf("logged %d times", n)
		}
		k.set(2, nil, nil)
		after(controllersInterval)
		wants("they can again", 2, true)
		hung := make(chan struct{})
		k.set(2, nil, hung)
		after(staleAfter)
		wants("sysfs hangs, and the last look is not too old", 2, true)
		after(2 * controllersInterval)
		wants("sysfs hangs, and the last look is too old", 0, false)
		k.set(1, nil, nil)
		close(hung)
		after(2 * slowestInterval)
		wants("it goes on", 1, true)
		cancel()
		<-done
	})
}

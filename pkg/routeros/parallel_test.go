package routeros

import (
	"io"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"

	"golang.org/x/sync/semaphore"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

func TestSessionsAreBounded(t *testing.T) {
	for _, sessions := range []int{1, 3} {
		t.Run(strconv.Itoa(sessions), func(t *testing.T) {
			s := newServer(t)
			healthy, full := s.reply, make(chan struct{})
			var once sync.Once
			s.reply = func(conn, exec int, text string, channel io.ReadWriter) {
				if s.open.Load() == int64(sessions) {
					once.Do(func() { close(full) })
				}
				<-full // until as many as allowed are open
				healthy(conn, exec, text, channel)
			}
			c := s.start().client(func(c *Config) { c.Sessions = sessions })
			var group sync.WaitGroup
			for range 60 {
				group.Go(func() {
					if _, err := get(t.Context(), c); err != nil {
						t.Error(err)
					}
				})
			}
			group.Wait()
			if s.peak.Load() != int64(sessions) || s.conns.Load() != 1 || s.execs.Load() != 60 {
				t.Errorf("%d at once, %d connections, %d execs", s.peak.Load(), s.conns.Load(), s.execs.Load())
			}
		})
	}
}

// First come, first served: a command that waits is not overtaken for ever.
func TestSessionsAreFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slots{free: semaphore.NewWeighted(1), metrics: telemetry.Noop()}
		running, err := s.take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		order := make(chan int, 10)
		for n := range cap(order) {
			go func() {
				taken, err := s.take(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				order <- n
				taken.leave()
			}()
			synctest.Wait() // it is in the queue
		}
		running.leave()
		for want := range cap(order) {
			if n := <-order; n != want {
				t.Fatalf("command %d had its turn before command %d", n, want)
			}
		}
	})
}

// A slot is free only when the caller and the exec behind it have both left.
func TestSlotIsHeldByAllWhoUseIt(t *testing.T) {
	s := &slots{free: semaphore.NewWeighted(1), metrics: telemetry.Noop()}
	taken, err := s.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	taken.hold()
	taken.leave()
	if s.free.TryAcquire(1) {
		t.Fatal("free while still held")
	}
	taken.leave()
	if !s.free.TryAcquire(1) {
		t.Fatal("not free again")
	}
}

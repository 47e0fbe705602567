package reconcile

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/driver"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

type questions func(ctx context.Context) error

func (q questions) AskKubernetes(ctx context.Context) error { return q(ctx) }

func TestKubernetesIsAskedNowAndThenAndItsFailureSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rounds atomic.Int64
		var fails atomic.Bool
		core, logs := observer.New(zap.InfoLevel)
		a := NewAttachments(questions(func(ctx context.Context) error {
			rounds.Add(1)
			if fails.Load() { // an API server that hangs
				<-ctx.Done()
				return fmt.Errorf("no answer, about volume %d", rounds.Load())
			}
			return nil
		}), zap.New(core))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); a.Run(ctx) }()
		after(time.Minute)
		if n := rounds.Load(); n < 6 || n > 7 {
			t.Errorf("%d rounds in a minute", n)
		}
		fails.Store(true)
		after(10 * time.Minute)
		fails.Store(false)
		after(2 * time.Minute)
		if n := logs.FilterLevelExact(zap.WarnLevel).Len(); n != 1 {
			t.Errorf("%d warnings", n)
		}
		if n := logs.FilterMessageSnippet("tells again").Len(); n != 1 {
			t.Errorf("the end is said %d times", n)
		}
		fails.Store(true)
		after(attachmentsInterval)
		cancel()
		<-done
		if n := logs.FilterLevelExact(zap.WarnLevel).Len(); n != 1 {
			t.Errorf("the end of the process is told as a failure: %d warnings", n)
		}
	})
}

func TestARevokedVolumeIsReleasedAtTheUsualPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLoop(t)
		defer l.stop()
		l.volumes.heal = func(context.Context, string) error { return errors.New("a container has it") }
		revoked := away
		revoked.Revoked = true
		l.volumes.set("v", revoked)
		l.volumes.set("busy", driver.Condition{Busy: true, Revoked: true, Link: nvme.LinkAway})
		after(time.Minute)
		if n := l.volumes.triesOf("v"); n < 8 || n > 20 {
			t.Errorf("%d tries in a minute", n)
		}
		if l.volumes.triesOf("busy") != 0 || len(l.volumes.unblocked) == 0 || l.volumes.unblocked[0] != "busy" {
			t.Errorf("%d tries beside a call, unblocked %q", l.volumes.triesOf("busy"), l.volumes.unblocked)
		}
	})
}

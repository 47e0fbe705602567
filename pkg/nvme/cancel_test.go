package nvme_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme/nvmetest"
)

// cancelDuringWrite begins a connect and ends its context while the kernel is busy with it.
func cancelDuringWrite(t *testing.T, r rig) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := r.host.Connect(ctx, r.target)
		done <- err
	}()
	eventually(t, "the write runs", func() bool { return len(r.Creates()) == 1 })
	cancel()
	select {
	case err := <-done:
		wantKind(t, err, fault.Unavailable)
	case <-time.After(10 * time.Second):
		t.Fatal("a cancelled connect does not return")
	}
}

func TestALateControllerNobodyWantsIsTakenDown(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	release := r.HoldCreates()
	cancelDuringWrite(t, r)
	release()
	eventually(t, "the late controller was deleted", func() bool { return r.deletes() == 1 && len(r.Controllers()) == 0 })
	r.connect(t)
	if n := len(r.Creates()); n != 2 {
		t.Errorf("%d writes, want 2", n)
	}
}

func TestALateControllerIsAdoptedByTheNextCall(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	release := r.HoldCreates()
	cancelDuringWrite(t, r)
	done := make(chan error, 1)
	go func() {
		_, err := r.host.Connect(t.Context(), r.target)
		done <- err
	}()
	eventually(t, "the next call watches", func() bool { return r.Watchers() == 1 })
	select {
	case err := <-done:
		t.Fatalf("the next call ended before the write: %v", err)
	case <-time.After(200 * time.Millisecond): // it has long joined, or would have written by now
	}
	release()
	if err := <-done; err != nil {
		t.Fatalf("the next call: %v", err)
	}
	if len(r.Creates()) != 1 || r.deletes() != 0 {
		t.Errorf("creates %q, writes %q; want the first write's controller adopted", r.Creates(), r.Writes())
	}
}

func TestDisconnectWaitsForARunningWrite(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	release := r.HoldCreates()
	cancelDuringWrite(t, r)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	wantKind(t, r.disconnect(ctx), fault.Unavailable) // sysfs shows none, but one may yet come
	release()
	if err := r.disconnect(t.Context()); err != nil || len(r.Controllers()) > 0 {
		t.Errorf("disconnect: %v, left %q", err, r.Controllers())
	}
}

func TestACancelledCallLeavesTheQueue(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	release := r.HoldCreates()
	defer release()
	const other = "nqn.test:other"
	r.Export(nvmetest.Subsystem{NQN: other, Size: mib})
	first := make(chan error, 1)
	go func() {
		_, err := r.host.Connect(t.Context(), r.target)
		first <- err
	}()
	eventually(t, "the first write runs", func() bool { return len(r.Creates()) == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	second := r.target
	second.NQN = other
	_, err := r.host.Connect(ctx, second)
	wantKind(t, err, fault.Timeout)
	release()
	if err := <-first; err != nil {
		t.Error(err)
	}
	if n := len(r.Creates()); n != 1 {
		t.Errorf("%d writes: the cancelled call still made one", n)
	}
}

func TestManyConnectsReachTheKernelOneAtATime(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	const n = 20
	var calls sync.WaitGroup
	for i := range n {
		target := r.target
		target.NQN = fmt.Sprintf("nqn.test:v%d", i)
		r.Export(nvmetest.Subsystem{NQN: target.NQN, Size: mib})
		calls.Go(func() {
			d, err := r.host.Connect(t.Context(), target)
			if err != nil {
				t.Errorf("%s: %v", target.NQN, err)
				return
			}
			if found, err := r.host.Find(t.Context(), target.NQN, target.HostNQN); err != nil || found.Num != d.Num {
				t.Errorf("%s: found %+v, %v; connected %+v", target.NQN, found, err, d)
			}
			if err := r.host.Disconnect(t.Context(), target.NQN, target.HostNQN, "unstage"); err != nil {
				t.Errorf("%s: %v", target.NQN, err)
			}
		})
	}
	calls.Wait()
	if peak := r.PeakCreates(); peak != 1 || len(r.Creates()) != n || len(r.Controllers()) > 0 {
		t.Errorf("%d writes, at most %d at once, left %q; want %d, one at a time, none", len(r.Creates()), peak, r.Controllers(), n)
	}
}

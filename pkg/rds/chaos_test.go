package rds_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
)

// Every verb is interrupted at every exec, in every way, and then repeated as Kubernetes does until
// it is OK: there must be one volume, of the right size, and nothing else.
func TestVerbsSurviveEveryFaultAtEveryExec(t *testing.T) {
	for _, kind := range []rdssim.FaultKind{rdssim.DropBefore, rdssim.DropAfter, rdssim.HalfReply, rdssim.Garble, rdssim.RefuseSession} {
		for skip := range 6 {
			t.Run(fmt.Sprintf("%s/%d", kind, skip), func(t *testing.T) {
				t.Parallel()
				liveThrough(t, kind, skip)
			})
		}
	}
}

func liveThrough(t *testing.T, kind rdssim.FaultKind, skip int) {
	r := newRig(t, rdssim.Options{})
	if _, err := r.Look(soon(t)); err != nil {
		t.Fatal(err)
	}
	execs := 0
	strike := func() {
		if execs == skip {
			if err := r.sim.Inject(rdssim.Fault{Kind: kind}); err != nil {
				t.Fatal(err)
			}
		}
		execs++
	}
	size := rds.Size{Required: gib}
	slot := rds.Slot(cluster, "a")
	untilOK(t, func(ctx context.Context) error {
		strike()
		_, _, err := r.Create(ctx, rds.CreateRequest{Name: "a", Size: size})
		return err
	})
	untilOK(t, func(ctx context.Context) error {
		strike()
		p, err := r.Publish(ctx, publish(slot, "n1"))
		if err == nil && !r.sim.MayConnect(p.NQN, node("n1").HostNQN) {
			t.Error("told OK, but the node cannot connect")
		}
		return err
	})
	untilOK(t, func(ctx context.Context) error {
		strike()
		_, _, err := r.Grow(ctx, slot, rds.Size{Required: 2 * gib})
		return err
	})
	if v, err := r.Get(soon(t), slot); err != nil || v.Size != 2*gib || len(volumes(r.sim.Items())) != 1 {
		t.Errorf("%+v, %v; on the array: %v", v, err, r.sim.Items())
	}
	untilOK(t, func(ctx context.Context) error {
		strike()
		_, err := r.Unpublish(ctx, slot, node("n1"))
		return err
	})
	untilOK(t, func(ctx context.Context) error {
		strike()
		_, err := r.Delete(ctx, slot)
		return err
	})
	if left := volumes(r.sim.Items()); len(left) != 0 {
		t.Errorf("left on the array: %v", left)
	}
	if _, err := os.Stat(filepath.Join(poolDir(r), slot)); !os.IsNotExist(err) {
		t.Errorf("left in the pool: %v", err)
	}
}

// untilOK repeats a call while its error says that repeating it makes sense.
func untilOK(t *testing.T, call func(context.Context) error) {
	t.Helper()
	ctx := soon(t)
	for {
		err := call(ctx)
		switch fault.KindOf(err) {
		case "":
			return
		case fault.Unavailable, fault.UnknownOutcome, fault.Timeout:
		default:
			t.Fatalf("a final error: %v", err)
		}
		select {
		case <-ctx.Done():
			t.Fatalf("never OK: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestAFullArrayIsToldInBytesAndLeavesNothing(t *testing.T) {
	r := newRig(t, rdssim.Options{})
	if err := r.sim.Inject(rdssim.Fault{Kind: rdssim.NoSpace, Match: "file-size="}); err != nil {
		t.Fatal(err)
	}
	_, _, err := r.Create(soon(t), rds.CreateRequest{Name: "a", Size: rds.Size{Required: gib}})
	wantKind(t, err, fault.NoSpace)
	if want := "1073741824 bytes wanted, "; !strings.Contains(err.Error(), want) {
		t.Errorf("error %q does not say %q", err, want)
	}
	if entries, err := os.ReadDir(poolDir(r)); err != nil || len(entries) != 0 {
		t.Errorf("left in the pool: %v, %v", entries, err)
	}
	r.mustCreate(t, "a", gib)
}

func TestAnUnreachableArrayIsNotAnEmptyOne(t *testing.T) {
	r := newRig(t, rdssim.Options{})
	v := r.mustCreate(t, "a", gib)
	if err := r.sim.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := r.Get(soon(t), v.Slot)
	wantKind(t, err, fault.Unavailable)
	_, err = r.Unpublish(soon(t), v.Slot, node("n1"))
	wantKind(t, err, fault.Unavailable)
	_, err = r.Delete(soon(t), v.Slot)
	wantKind(t, err, fault.Unavailable)
}

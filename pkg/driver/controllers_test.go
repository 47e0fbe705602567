package driver

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
)

// rollout is a rig with a second controller: while a deployment is replaced, old and new work at once.
func rollout(t *testing.T) (r *rig, second *server) {
	r = newRig(t)
	return r, serve(t, controllerOf(t, r.array, r.a.portal.Port), nil)
}

// both makes two calls at the same moment.
func both(first, second func() error) (errs [2]error) {
	var running sync.WaitGroup
	start := make(chan struct{})
	for i, call := range []func() error{first, second} {
		running.Go(func() {
			<-start
			errs[i] = call()
		})
	}
	close(start)
	running.Wait()
	return errs
}

const overlaps = 15

func TestTwoControllersCreateOneVolume(t *testing.T) {
	r, second := rollout(t)
	for i := range overlaps {
		req := createRequest(fmt.Sprint("v", i), 16*mib, mounted("", nodeWriter))
		create := func(s *server) func() error {
			return func() error { _, err := s.CreateVolume(soon(t), req); return err }
		}
		slot := rds.Slot(testCluster, req.GetName())
		errs := both(create(r.controller), create(second))
		_, there := r.array.item(slot)
		for _, err := range errs {
			if err == nil && !there || isFinal(err) {
				t.Errorf("the volume is there: %t; a create that met its twin was told: %v", there, err)
			}
		}
		for _, again := range []*server{r.controller, second} { // whatever the loser was told, it finds the volume now
			wantCode(t, create(again)(), codes.OK)
		}
		if n := len(slices.DeleteFunc(r.array.Items(), func(it rdssim.Item) bool { return it.Slot != slot })); n != 1 {
			t.Fatalf("%d items for one volume", n)
		}
	}
}

func TestTwoControllersPublishToTwoNodes(t *testing.T) {
	r, second := rollout(t)
	for i := range overlaps {
		v := r.create(t, fmt.Sprint("v", i), 16*mib, mounted("", nodeWriter))
		publish := func(s *server, m *machine) func() error {
			return func() error { _, err := s.ControllerPublishVolume(soon(t), v.publishRequest(m)); return err }
		}
		errs := both(publish(r.controller, r.a), publish(second, r.b))
		item, _ := r.array.item(v.slot())
		onA, onB := r.array.MayConnect(item.NQN, r.a.id.HostNQN()), r.array.MayConnect(item.NQN, r.b.id.HostNQN())
		if onA == onB {
			t.Fatalf("node a may connect: %t, node b: %t; answers %v", onA, onB, errs)
		}
		loser, other := r.a, second
		if onA {
			loser, other = r.b, r.controller
		}
		wantCode(t, publish(other, loser)(), codes.FailedPrecondition, "published to")
		for _, s := range []*server{r.controller, second} { // whoever is asked, it goes and comes back as it should
			_, err := s.ControllerUnpublishVolume(soon(t), &csi.ControllerUnpublishVolumeRequest{VolumeId: v.VolumeId, NodeId: loser.id.String()})
			wantCode(t, err, codes.OK)
		}
		if after, _ := r.array.item(v.slot()); after.NQN != item.NQN || !after.Exported {
			t.Errorf("unpublishing from the loser changed %+v to %+v", item, after)
		}
	}
}

// The controller that goes still has an unpublish of the old node under way when the new one has
// published to the next.
func TestLateUnpublishDoesNotTakeTheNextHoldersVolume(t *testing.T) {
	r, second := rollout(t)
	v := r.create(t, "v", 16*mib, mounted("", nodeWriter))
	unpublishA := &csi.ControllerUnpublishVolumeRequest{VolumeId: v.VolumeId, NodeId: r.a.id.String()}
	for range overlaps {
		wantCode(t, v.publishTo(r.a), codes.OK)
		if err := r.array.Inject(rdssim.Fault{Kind: rdssim.DropAfter}); err != nil { // it is done, but nobody is told
			t.Fatal(err)
		}
		_, err := r.controller.ControllerUnpublishVolume(soon(t), unpublishA)
		if isFinal(err) {
			t.Fatalf("a lost reply became %v", err)
		}
		r.array.ClearFaults()
		req := v.publishRequest(r.b)
		_, err = second.ControllerUnpublishVolume(soon(t), unpublishA)
		wantCode(t, err, codes.OK)
		resp, err := second.ControllerPublishVolume(soon(t), req)
		wantCode(t, err, codes.OK)
		waitFor(t, "its retry", func() bool {
			_, err := r.controller.ControllerUnpublishVolume(soon(t), unpublishA)
			return err == nil
		})
		if nqn := resp.GetPublishContext()[keyNQN]; !r.array.MayConnect(nqn, r.b.id.HostNQN()) || r.array.MayConnect(nqn, r.a.id.HostNQN()) {
			t.Fatal("node b has lost its volume, or shares it")
		}
		waitFor(t, "the first to be sure again", func() bool { return v.unpublishFrom(r.b) == nil })
	}
}

func TestTwoControllersDeleteAndPublish(t *testing.T) {
	r, second := rollout(t)
	deleted := 0
	for i := range overlaps {
		v := r.create(t, fmt.Sprint("v", i), 16*mib, mounted("", nodeWriter))
		errs := both(v.delete, func() error {
			_, err := second.ControllerPublishVolume(soon(t), v.publishRequest(r.b))
			return err
		})
		item, there := r.array.item(v.slot())
		published := there && r.array.MayConnect(item.NQN, r.b.id.HostNQN())
		switch {
		case errs[0] == nil && there, errs[0] != nil && !published, errs[0] != nil && errs[1] != nil:
			t.Fatalf("delete %v, publish %v; the array has %+v (%t)", errs[0], errs[1], item, there)
		case errs[0] == nil: // the console has no compare-and-set: publish may have seen it the moment before
			deleted++
			if code := status.Code(errs[1]); code != codes.OK && code != codes.NotFound && code != codes.FailedPrecondition {
				t.Errorf("publish of what is deleted: %v", errs[1])
			}
			wantCode(t, v.publishTo(r.b), codes.NotFound)
		default:
			wantCode(t, errs[0], codes.FailedPrecondition, r.b.id.String())
		}
	}
	t.Logf("%d of %d were deleted", deleted, overlaps)
}

func TestTwoControllersGrowOneVolume(t *testing.T) {
	r, second := rollout(t)
	v := r.create(t, "v", 16*mib, mounted("", nodeWriter))
	for i := range int64(overlaps) {
		grow := func(s *server, size int64) func() error {
			return func() error {
				_, err := s.ControllerExpandVolume(soon(t), &csi.ControllerExpandVolumeRequest{VolumeId: v.VolumeId, CapacityRange: &csi.CapacityRange{RequiredBytes: size}})
				return err
			}
		}
		small, large := (20+4*i)*mib, (22+4*i)*mib
		errs := both(grow(r.controller, small), grow(second, large))
		wantCode(t, errs[1], codes.OK)
		wantCode(t, grow(r.controller, small)(), codes.OK) // whatever it was told when it came too late
		if item, _ := r.array.item(v.slot()); item.Size != uint64(large) {
			t.Fatalf("grown to %d and %d at once, it has %d", small, large, item.Size)
		}
	}
}

// Whatever happens to a command, the code is not final, and the repeat comes to the same end.
func TestControllerCallsSurviveFaultsOfTheArray(t *testing.T) {
	r := newRig(t)
	for _, kind := range []rdssim.FaultKind{rdssim.DropBefore, rdssim.DropAfter, rdssim.HalfReply, rdssim.Garble, rdssim.RefuseSession, rdssim.AuthRefused} {
		t.Run(string(kind), func(t *testing.T) {
			v := &volume{rig: r, t: t, capability: mounted("", nodeWriter)}
			steps := []struct {
				match string // a piece of the command that is hit
				call  func() error
			}{
				{"/disk add", func() error {
					resp, err := r.controller.CreateVolume(soon(t), createRequest(string(kind), 16*mib, v.capability))
					v.Volume = resp.GetVolume()
					return err
				}},
				{"file-size=", func() error {
					_, err := r.controller.ControllerExpandVolume(soon(t), &csi.ControllerExpandVolumeRequest{VolumeId: v.VolumeId, CapacityRange: &csi.CapacityRange{RequiredBytes: 32 * mib}})
					return err
				}},
				{"nvme-tcp-export=yes", func() error { return v.publishTo(r.a) }},
				{"nvme-tcp-export=no", func() error { return v.unpublishFrom(r.a) }},
				{"/disk remove", func() error { return v.delete() }},
			}
			for _, step := range steps {
				if err := r.array.Inject(rdssim.Fault{Kind: kind, Match: step.match}); err != nil {
					t.Fatal(err)
				}
				if err := step.call(); isFinal(err) {
					t.Errorf("%s: %v is final", step.match, err)
				}
				r.array.ClearFaults()
				waitFor(t, step.match, func() bool { return step.call() == nil })
			}
			if items := r.array.Items(); len(items) != 1 {
				t.Errorf("left: %+v", items)
			}
		})
	}
}

func TestArrayThatIsFullOrTooOldOrAway(t *testing.T) {
	t.Run("full", func(t *testing.T) {
		r := newRig(t)
		if err := r.array.Inject(rdssim.Fault{Kind: rdssim.NoSpace, Match: "/disk add"}); err != nil {
			t.Fatal(err)
		}
		_, err := r.controller.CreateVolume(soon(t), createRequest("v", gib, mounted("", nodeWriter)))
		wantCode(t, err, codes.ResourceExhausted, fmt.Sprint(gib), "free")
		if _, there := r.array.item(rds.Slot(testCluster, "v")); there {
			t.Error("something of it is on the array")
		}
	})
	t.Run("too old", func(t *testing.T) {
		r := newRigOn(t, rdssim.Options{Version: "7.20"})
		_, err := r.controller.CreateVolume(soon(t), createRequest("v", gib, mounted("", nodeWriter)))
		wantCode(t, err, codes.FailedPrecondition, "7.20", "7.21")
		probe, err := r.controller.Probe(soon(t), &csi.ProbeRequest{})
		wantCode(t, err, codes.OK)
		if !probe.GetReady().GetValue() {
			t.Error("an old array must not make kubelet restart us")
		}
	})
	t.Run("away", func(t *testing.T) {
		r := newRig(t)
		v := r.create(t, "v", gib, mounted("", nodeWriter))
		r.array.Reboot(300 * time.Millisecond)
		wantCode(t, v.publishTo(r.a), codes.Unavailable)
		_, err := r.controller.Probe(soon(t), &csi.ProbeRequest{})
		wantCode(t, err, codes.OK)
		waitFor(t, "the array to be back", func() bool { return status.Code(v.publishTo(r.a)) == codes.OK })
		wantCode(t, v.stage(r.a), codes.OK)
	})
}

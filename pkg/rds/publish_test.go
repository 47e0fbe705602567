package rds_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
)

const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func publish(slot, name string) rds.PublishRequest {
	return rds.PublishRequest{Slot: slot, Node: node(name), Mode: rds.ModeMount, TraceParent: trace}
}

func publishShared(slot, name string) rds.PublishRequest {
	req := publish(slot, name)
	req.Mode = rds.ModeShared
	return req
}

func TestPublishExportsToOneNodeAndRepeats(t *testing.T) {
	r := newRig(t, rdssim.Options{})
	v := r.mustCreate(t, "a", gib)
	before := r.sim.Execs()
	p, err := r.Publish(soon(t), publish(v.Slot, "n1"))
	if err != nil {
		t.Fatal(err)
	}
	if got := r.sim.Execs() - before; got != 1 {
		t.Errorf("a publish took %d execs, want 1", got)
	}
	if p.Repeat || !p.Simulated || !rds.MatchesSlot(p.NQN, v.Slot) || p.TraceParent != trace {
		t.Errorf("published: %+v", p)
	}
	if !r.sim.MayConnect(p.NQN, node("n1").HostNQN) || r.sim.MayConnect(p.NQN, node("n2").HostNQN) {
		t.Error("the array lets in the wrong host")
	}
	again, err := r.Publish(soon(t), rds.PublishRequest{Slot: v.Slot, Node: node("n1"), Mode: rds.ModeMount, TraceParent: "00-other-other-01"})
	if err != nil || !again.Repeat || again.NQN != p.NQN || again.TraceParent != trace {
		t.Errorf("again: %+v, %v", again, err)
	}
	_, err = r.Publish(soon(t), publish(v.Slot, "n2"))
	wantKind(t, err, fault.Busy)
	if !strings.Contains(err.Error(), node("n1").ID) {
		t.Errorf("the holder is not named: %v", err)
	}
}

func TestUnpublishFencesForEver(t *testing.T) {
	r := newRig(t, rdssim.Options{})
	v := r.mustCreate(t, "a", gib)
	comment := v.Comment
	first, err := r.Publish(soon(t), publish(v.Slot, "n1"))
	if err != nil {
		t.Fatal(err)
	}
	if changed, err := r.Unpublish(soon(t), v.Slot, node("n2")); err != nil || changed {
		t.Errorf("a node that holds nothing: changed %v, %v", changed, err)
	}
	before := r.sim.Execs()
	if changed, err := r.Unpublish(soon(t), v.Slot, node("n1")); err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	if got := r.sim.Execs() - before; got != 1 {
		t.Errorf("an unpublish took %d execs, want 1", got)
	}
	if changed, err := r.Unpublish(soon(t), v.Slot, node("n1")); err != nil || changed {
		t.Errorf("again: changed %v, %v", changed, err)
	}
	second, err := r.Publish(soon(t), publish(v.Slot, "n1"))
	if err != nil {
		t.Fatal(err)
	}
	if second.NQN == first.NQN || r.sim.MayConnect(first.NQN, node("n1").HostNQN) {
		t.Error("the old NQN is good again: dirty data of the old session could arrive")
	}
	if changed, err := r.Unpublish(soon(t), v.Slot, rds.Node{}); err != nil || !changed {
		t.Errorf("from every node: changed %v, %v", changed, err)
	}
	after, err := r.Get(soon(t), v.Slot)
	if err != nil || after.Exported || after.Comment != comment {
		t.Errorf("after all: %+v, %v; want comment %q", after, err, comment)
	}
	if changed, err := r.Unpublish(soon(t), "csi-0000000000000000000000000000", node("n1")); err != nil || changed {
		t.Errorf("no such volume: changed %v, %v", changed, err)
	}
}

func TestTwoHoldersOfASharedVolume(t *testing.T) {
	r := newRig(t, rdssim.Options{})
	v := r.mustCreate(t, "a", gib)
	first, err := r.Publish(soon(t), publishShared(v.Slot, "n1"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := r.Publish(soon(t), publishShared(v.Slot, "n2"))
	if err != nil || second.NQN != first.NQN {
		t.Fatalf("%+v, %v; want NQN %s", second, err, first.NQN)
	}
	for _, n := range []string{"n1", "n2"} {
		if !r.sim.MayConnect(first.NQN, node(n).HostNQN) {
			t.Errorf("%s may not connect", n)
		}
		if p, err := r.Publish(soon(t), publishShared(v.Slot, n)); err != nil || !p.Repeat || len(p.Record.Holders) != 2 {
			t.Errorf("%s again: %+v, %v", n, p, err)
		}
	}
	_, err = r.Publish(soon(t), publishShared(v.Slot, "n3"))
	wantKind(t, err, fault.Busy)
	_, err = r.Publish(soon(t), publish(v.Slot, "n2"))
	wantKind(t, err, fault.Conflict) // in another way, while two hold it
	if changed, err := r.Unpublish(soon(t), v.Slot, node("n1")); err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	if r.sim.MayConnect(first.NQN, node("n1").HostNQN) || !r.sim.MayConnect(first.NQN, node("n2").HostNQN) {
		t.Error("the wrong one was let go")
	}
	if _, err := r.Unpublish(soon(t), v.Slot, node("n2")); err != nil {
		t.Fatal(err)
	}
	if r.sim.MayConnect(first.NQN, node("n2").HostNQN) {
		t.Error("still exported after the last holder went")
	}
}

// RouterOS has no compare-and-set, so both may be told OK; but only one node can connect.
func TestRacingPublishersLeaveOneNode(t *testing.T) {
	rounds := 1000
	if testing.Short() {
		rounds = 100
	}
	r := newRig(t, rdssim.Options{})
	v := r.mustCreate(t, "a", gib)
	arrays := []*rds.Array{client(t, r.sim, rds.Config{HostACL: true}), client(t, r.sim, rds.Config{HostACL: true})}
	ctx := t.Context()
	for round := range rounds {
		var published [2]rds.Published
		var errs [2]error
		var running sync.WaitGroup
		for i, name := range []string{"n1", "n2"} {
			running.Go(func() { published[i], errs[i] = arrays[i].Publish(ctx, publish(v.Slot, name)) })
		}
		running.Wait()
		can := 0
		for i, name := range []string{"n1", "n2"} {
			if errs[i] == nil && r.sim.MayConnect(published[i].NQN, node(name).HostNQN) {
				can++
			}
		}
		if can != 1 {
			t.Fatalf("round %d: %d nodes can connect; errors %v", round, can, errs)
		}
		if _, err := r.Unpublish(ctx, v.Slot, rds.Node{}); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
}

func TestVolumesOfOtherToolsAttachAndKeepTheirNames(t *testing.T) {
	r := newRig(t, rdssim.Options{})
	r.console(t, `/file add name="storage-pool/vm" type=directory`)
	r.console(t, `/disk add type=file slot="vm-1" file-path="/storage-pool/vm/vm-1.img" file-size=1G comment="the -- old server" nvme-tcp-server-nqn="nqn.2020-01.example:vm-1"`)
	p, err := r.Publish(soon(t), publish("vm-1", "n1"))
	if err != nil || p.NQN != "nqn.2020-01.example:vm-1" || !p.Foreign() {
		t.Fatalf("%+v, %v", p, err)
	}
	if again, err := r.Publish(soon(t), publish("vm-1", "n1")); err != nil || !again.Repeat {
		t.Errorf("again: %+v, %v", again, err)
	}
	_, err = r.Publish(soon(t), publish("vm-1", "n2"))
	wantKind(t, err, fault.Busy)
	_, err = r.Delete(soon(t), "vm-1")
	wantKind(t, err, fault.Precondition)
	_, _, err = r.Grow(soon(t), "vm-1", rds.Size{Required: 2 * gib})
	wantKind(t, err, fault.Precondition)
	if changed, err := r.Unpublish(soon(t), "vm-1", node("n1")); err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	v, err := r.Get(soon(t), "vm-1")
	if err != nil || v.Comment != "the -- old server" || v.Exported {
		t.Errorf("after: %+v, %v", v, err)
	}
}

func TestAnExportMadeByHandIsNotTakenOver(t *testing.T) {
	r := newRig(t, rdssim.Options{})
	v := r.mustCreate(t, "a", gib)
	r.console(t, `/disk set [find slot="`+v.Slot+`"] nvme-tcp-server-nqn="nqn.2020-01.example:x" nvme-tcp-export=yes`)
	_, err := r.Publish(soon(t), publish(v.Slot, "n1"))
	wantKind(t, err, fault.Busy)
	_, err = r.Delete(soon(t), v.Slot)
	wantKind(t, err, fault.Busy)
}

func TestUnpublishFencesWhateverTheCommentSays(t *testing.T) {
	r := newRig(t, rdssim.Options{})
	v := r.mustCreate(t, "a", gib)
	p, err := r.Publish(soon(t), publish(v.Slot, "n1"))
	if err != nil {
		t.Fatal(err)
	}
	r.console(t, `/disk set [find slot="`+v.Slot+`"] comment="edited by hand"`)
	if changed, err := r.Unpublish(soon(t), v.Slot, node("n1")); err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	if r.sim.MayConnect(p.NQN, node("n1").HostNQN) {
		t.Error("the node can still connect")
	}
}

func TestPublishRefusesAVolumeWhoseFileIsGone(t *testing.T) {
	r := newRig(t, rdssim.Options{})
	v := r.mustCreate(t, "a", gib)
	if err := r.sim.RemoveFile(v.Slot); err != nil {
		t.Fatal(err)
	}
	_, err := r.Publish(soon(t), publish(v.Slot, "n1"))
	wantKind(t, err, fault.Precondition)
	if !strings.Contains(err.Error(), "backing file is gone") {
		t.Error(err)
	}
	_, _, err = r.Grow(soon(t), v.Slot, rds.Size{Required: 2 * gib})
	wantKind(t, err, fault.Precondition)
	if err := r.sim.RemoveBehindBack(v.Slot); err != nil {
		t.Fatal(err)
	}
	_, err = r.Publish(soon(t), publish(v.Slot, "n1"))
	wantKind(t, err, fault.NotFound)
}

func TestWithoutACLTheTokenFences(t *testing.T) {
	sim := simulate(t, rdssim.Options{})
	r := rig{Array: client(t, sim, rds.Config{HostACL: false}), sim: sim}
	v := r.mustCreate(t, "a", gib)
	first, err := r.Publish(soon(t), publish(v.Slot, "n1"))
	if err != nil || len(first.Hosts) != 0 {
		t.Fatalf("%+v, %v", first, err)
	}
	_, err = r.Publish(soon(t), publish(v.Slot, "n2"))
	wantKind(t, err, fault.Busy)
	if changed, err := r.Unpublish(soon(t), v.Slot, node("n2")); err != nil || changed {
		t.Errorf("no holder: changed %v, %v", changed, err)
	}
	if changed, err := r.Unpublish(soon(t), v.Slot, node("n1")); err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	if r.sim.MayConnect(first.NQN, "anybody") {
		t.Error("the old NQN still works")
	}
}

func (r rig) console(t *testing.T, line string) string {
	t.Helper()
	out := r.sim.Run(t.Context(), line)
	if strings.TrimSpace(out) != "" {
		t.Fatalf("%s: %s", line, out)
	}
	return out
}

func volumes(items []rdssim.Item) []rdssim.Item {
	return slices.DeleteFunc(slices.Clone(items), func(i rdssim.Item) bool { return i.Type != "file" })
}

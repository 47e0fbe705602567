package guest

import (
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Two nodes have a raw block volume at once, as for a live migration. Each reads what the other has written;
// one that leaves does not disturb the other, and cannot come back by itself. One that is taken from its node
// goes on (docs/explanation/data-safety.md, "Limits"), but no longer than the other has it.
func testSharedBlock(t *testing.T) {
	s := &scene{t: t, ctx: t.Context(), cluster: newCluster(t, "--nvme-address", firstAddress+":4420"), fencing: fencing{fs: block, held: true}}
	s.b, s.a = s.newNode("node-b"), s.newRemote()
	s.v = s.create(s.ctx, spec{
		name: "vm", fs: block, size: 64 * mib, mode: csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER,
		params: map[string]string{"reconnectDelay": "1", "keepAliveTmo": "60"}, // no reconnect but for what the test does
	})
	ok(t, s.a.attach(s.ctx, s.v, "vm"))
	s.old = s.nqn(s.a.node)
	s.pod = s.a.pod(s.v, "vm")
	onB := s.joinB()
	s.writeInTurns(onB)
	onB.end()
	s.leaveB()
	s.fenceWithTheLast(s.joinB())
	ok(t, s.delete(s.ctx, s.v))
}

func (s *scene) joinB() *localPod {
	s.t.Helper()
	ok(s.t, s.attach(s.ctx, s.v, s.b, "vm"))
	if s.nqn(s.b) != s.old {
		s.t.Errorf("one volume, and two names: %s and %s", s.old, s.nqn(s.b))
	}
	return newLocalPod(s.t, s.b.path(s.v, "vm"))
}

func (s *scene) writeInTurns(onB *localPod) {
	s.t.Helper()
	for seed := byte(1); seed < 5; seed += 2 {
		fromA, fromB := PodData{Area: kept, Seed: seed, N: areaBytes}, PodData{Area: kept, Seed: seed + 1, N: areaBytes}
		s.pod.writeDirect(fromA)
		onB.check(fromA)
		onB.writeDirect(fromB)
		s.pod.check(fromB)
	}
}

// leaveB: A does not notice.
func (s *scene) leaveB() {
	s.t.Helper()
	before, outages := s.a.state().Controllers, s.a.kernelSaid("Reconnecting in")
	ok(s.t, s.detach(s.ctx, s.v, s.b, "vm"))
	s.wantDenied()
	fromA := PodData{Area: kept, Seed: 5, N: areaBytes}
	s.pod.writeDirect(fromA)
	s.pod.check(fromA)
	now := s.a.state().Controllers
	if outages = s.a.kernelSaid("Reconnecting in") - outages; !slices.Equal(before, now) || len(now) != 1 || !strings.Contains(now[0], " live ") || outages > 0 {
		s.t.Errorf("A had the controllers %q and has %q, and was %d times away", before, now, outages)
	}
}

// wantDenied has B try to stage with what it knew before it left.
func (s *scene) wantDenied() {
	s.t.Helper()
	const denied = `rds_csi_nvme_connects_total{error_type="nvme_denied",status="failure"}`
	before, _ := s.b.metric(denied)
	if err := s.b.stage(s.ctx, s.v); status.Code(err) != codes.Unavailable {
		s.t.Errorf("B has left, and stages again: %v", err)
	}
	if now, _ := s.b.metric(denied); now != before+1 {
		s.t.Errorf("B was denied %v times, want once more than %v", now, before)
	}
	ok(s.t, s.b.unstage(s.ctx, s.v))
}

// fenceWithTheLast takes the volume from A while B has it, and then B leaves.
func (s *scene) fenceWithTheLast(onB *localPod) {
	s.t.Helper()
	ok(s.t, s.unpublish(s.ctx, s.v, s.a.node))
	s.pod.writeDirect(ofA)
	onB.check(ofA)
	onB.writeDirect(ofB)
	onB.end()
	ok(s.t, s.b.unpublish(s.ctx, s.v, "vm"))
	ok(s.t, s.b.unstage(s.ctx, s.v))
	before := s.array.imageOf(s.v)
	s.pod.write(PodData{Area: kept, N: areaBytes}) // the kernel has 30 s to write it, and takes them
	ok(s.t, s.unpublish(s.ctx, s.v, s.b))
	s.array.wantSame(s.t, s.v, before)
	s.pod.beginSync()
	s.wantDenied()
	s.a.await("A's kernel tries to reconnect, and is refused", func() bool { return s.refused() > 0 })
	s.array.wantSame(s.t, s.v, before)
	if oldKernel(s.t) {
		if ran := s.a.release(s.v); ran.Code != 0 {
			s.t.Fatalf("release: code %d, %s", ran.Code, ran.Output)
		}
	}
	s.podsFail()
	s.settled(func() error { return s.a.unpublish(s.ctx, s.v, "vm") })
	s.settled(func() error { return s.a.unstage(s.ctx, s.v) })
	s.array.wantSame(s.t, s.v, before)
}

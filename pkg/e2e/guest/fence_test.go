package guest

import (
	"cmp"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Node A is cut off with data that it has not written yet, and its volume goes to node B, or to B and back.
// Not one byte of that data may arrive, whatever A's kernel does when its network is back. A is the second
// guest; the array, the controller and B are in the first.
func TestPairFence(t *testing.T) {
	if station(t) == "2" {
		serveOutpost(t)
		return
	}
	t.Cleanup(func() { ok(t, callOutpost(t, "").Close()) })
	t.Run("control", testUnfenced)
	t.Run("shared", testSharedBlock)
	for _, f := range fencings() {
		t.Run("away/"+f.name(), f.testAway)
	}
	for i, f := range fencings() {
		if full() || i == 0 {
			t.Run("back, new way first/"+f.name(), f.testBackWhileCutOff)
		}
		if full() || i == 1 {
			t.Run("back, network first/"+f.name(), f.testBackAfterHeal)
		}
	}
}

// fencing is how a node is cut off, and what still holds what it has not written.
type fencing struct {
	fs   string
	away string // cut or blackhole
	held bool   // a pod hangs in fsync; else it has ended, and the data is the kernel's alone
}

func (f fencing) name() string {
	name := f.fs + "," + f.away
	if f.held {
		name += ",held"
	}
	return name
}

func fencings() []fencing {
	if !full() {
		return []fencing{{"ext4", "cut", false}, {"xfs", "blackhole", true}}
	}
	var all []fencing
	for _, fs := range fileSystems() {
		all = append(all, fencing{fs, "cut", false}, fencing{fs, "blackhole", true})
	}
	return all
}

// What node A had synced, what B writes in the same places and beside them, and what A writes later.
var (
	ofA      = PodData{Area: kept, Seed: 1, N: areaBytes / 2, Sync: true}
	ofB      = PodData{Area: kept, Seed: 2, N: areaBytes / 2, Sync: true}
	besideB  = PodData{Area: late, Seed: 3, N: areaBytes, Sync: true}
	ofALater = PodData{Area: kept, Seed: 4, N: areaBytes / 2, Sync: true}
)

// scene is a volume that node A uses.
type scene struct {
	fencing
	*cluster
	t   *testing.T
	ctx context.Context
	a   *remote
	b   *node
	v   *volume
	pod *remotePod
	old string // the NQN that A has it under
}

func (f fencing) begin(t *testing.T) *scene {
	t.Helper()
	s := &scene{fencing: f, t: t, ctx: t.Context(), cluster: newCluster(t, "--nvme-address", firstAddress+":4420")}
	s.b, s.a = s.newNode("node-b"), s.newRemote()
	s.v = s.create(s.ctx, spec{name: "pvc-1", fs: f.fs, size: 320 * mib, params: map[string]string{"reconnectDelay": "1"}})
	ok(t, s.a.attach(s.ctx, s.v, "pod"))
	s.old = s.nqn(s.a.node)
	s.pod = s.a.pod(s.v, "pod")
	s.pod.write(ofA)
	return s
}

func (s *scene) nqn(n *node) string { return s.v.published[n.name]["nqn"] }

// cutOff leaves A alone with data that it has not written: over what it has synced, and beside it.
func (s *scene) cutOff() {
	s.t.Helper()
	map[string]func(){"cut": s.a.ways[0].cut, "blackhole": s.a.ways[0].blackhole}[s.away]()
	for _, area := range []int{kept, late} {
		s.pod.write(PodData{Area: area, N: areaBytes / 2})
	}
	switch {
	case s.held:
		s.pod.beginSync()
	case s.fs == block: // its end writes, and waits for that
		s.a.endPods()
	case !s.a.endPods():
		s.t.Fatal("the pod does not end")
	}
	if now := s.array.imageOf(s.v); len(now.late) > 0 {
		s.t.Fatal("the node is not cut off")
	}
}

// moveToB fences A and lets B have the volume at once, which finds what A had synced, and writes.
func (s *scene) moveToB() image {
	s.t.Helper()
	begun := time.Now()
	ok(s.t, s.unpublish(s.ctx, s.v, s.a.node))
	ok(s.t, s.attach(s.ctx, s.v, s.b, "pod"))
	s.t.Logf("node B has the volume %s after A was fenced", time.Since(begun).Round(time.Millisecond))
	if a := s.a.state(); len(a.Controllers) != 1 || !strings.Contains(a.Controllers[0], s.old) {
		s.t.Fatalf("A has the controllers %q: nothing is shown by B's haste", a.Controllers)
	}
	pod := newLocalPod(s.t, s.b.path(s.v, "pod"))
	pod.check(ofA)
	pod.write(ofB)
	pod.write(besideB)
	pod.end()
	ok(s.t, s.b.unpublish(s.ctx, s.v, "pod"))
	ok(s.t, s.b.unstage(s.ctx, s.v))
	return s.array.imageOf(s.v)
}

// healed gives A its network back, and waits until all that was under way is at its end, and the array has
// refused the old NQN.
func (s *scene) healed() {
	s.t.Helper()
	if s.refused() > 0 {
		s.t.Fatal("A's kernel has reached the array although it is cut off")
	}
	s.a.ways[0].heal()
	tries := 1
	if oldKernel(s.t) {
		tries = 3
	}
	s.a.await("A's kernel tries to reconnect, and is refused", func() bool { return s.refused() >= tries })
	if oldKernel(s.t) {
		if now := s.a.state().Controllers; len(now) != 1 || !strings.Contains(now[0], "connecting "+s.old) {
			s.t.Errorf("this kernel tries for ever, but has the controllers %q", now)
		}
		return
	}
	s.a.await("A's kernel gives up", func() bool { return len(s.a.state().Controllers) == 0 })
	s.a.await("A's plugin tries, and is refused", func() bool {
		return s.a.logged("a stale volume could not be healed") > 0 && s.a.logged("knows no such NQN") > 0
	})
}

// refused is how often the array has refused A's kernel the old NQN.
func (s *scene) refused() int {
	s.t.Helper()
	return s.a.kernelSaid(`Connect Invalid Data Parameter, subsysnqn "` + s.old + `"`)
}

// oldKernel is one that tries for ever to reconnect, also where it is refused for good. Both guests have
// the same.
func oldKernel(t *testing.T) bool {
	t.Helper()
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	ok(t, err)
	return strings.HasPrefix(string(release), "6.1.")
}

// open is how many connections go by the proxy, or are held back.
func (p *proxy) open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// checkB proves that B's data is what B has written.
func (s *scene) checkB() {
	s.t.Helper()
	ok(s.t, s.attach(s.ctx, s.v, s.b, "pod"))
	pod := newLocalPod(s.t, s.b.path(s.v, "pod"))
	pod.check(ofB)
	pod.check(besideB)
	pod.end()
	ok(s.t, s.detach(s.ctx, s.v, s.b, "pod"))
}

func (s *scene) dropped() bool {
	s.t.Helper()
	return s.a.logged("fenced, unsynced data dropped") > 0
}

// Without a fence the data arrives: the other tests would see it.
func testUnfenced(t *testing.T) {
	s := fencing{"ext4", "cut", true}.begin(t)
	s.cutOff()
	s.a.ways[0].heal()
	s.a.await("A's sync comes to its end", func() bool { return s.pod.synced().Over })
	if sync := s.pod.synced(); sync.Error != "" {
		t.Errorf("A's sync: %s", sync.Error)
	}
	if n := len(s.array.imageOf(s.v).late); n != areaBytes/4096 {
		t.Errorf("%d blocks have arrived, and %d were written: the other tests prove nothing", n, areaBytes/4096)
	}
	if !s.a.endPods() {
		t.Error("the pod does not end")
	}
	ok(t, s.detach(s.ctx, s.v, s.a.node, "pod"))
	ok(t, s.delete(s.ctx, s.v))
}

// The volume goes to B for good. What is left on A is taken down as kubelet does, or by the command release.
func (f fencing) testAway(t *testing.T) {
	s := f.begin(t)
	s.refuseRelease()
	s.cutOff()
	before := s.moveToB()
	s.healed()
	s.array.wantSame(t, s.v, before)
	s.leaveA()
	s.array.wantSame(t, s.v, before)
	s.checkB()
	ok(t, s.delete(s.ctx, s.v))
}

// refuseRelease: the command leaves alone what is connected.
func (s *scene) refuseRelease() {
	s.t.Helper()
	before := s.a.state()
	ran := s.a.release(s.v)
	if ran.Code != 1 || !strings.Contains(ran.Output, "is connected and was left alone") {
		s.t.Errorf("release of a healthy volume: code %d, %s", ran.Code, ran.Output)
	}
	after := s.a.state()
	if !slices.Equal(before.Controllers, after.Controllers) || !slices.Equal(before.Mounts, after.Mounts) || !slices.Equal(before.Records, after.Records) {
		s.t.Errorf("it has changed\n%q %q %q to\n%q %q %q", before.Controllers, before.Mounts, before.Records, after.Controllers, after.Mounts, after.Records)
	}
	s.pod.check(ofA)
}

// settled makes a call that must work, once the node plugin's own try to heal the volume is over.
func (s *scene) settled(call func() error) {
	s.t.Helper()
	retry(s.t, time.Minute, func() error {
		err := call()
		if err != nil && status.Code(err) != codes.Aborted {
			s.t.Fatal(err)
		}
		return err
	})
}

// leaveA is what kubelet does once A is reached again and its pods are deleted.
func (s *scene) leaveA() {
	s.t.Helper()
	s.settled(func() error { return s.a.unpublish(s.ctx, s.v, "pod") })
	if oldKernel(s.t) && s.fs != block {
		s.hangs()
		if ran := s.a.release(s.v); ran.Code != 0 || !strings.Contains(ran.Output, "is released") {
			s.t.Fatalf("release: code %d, %s", ran.Code, ran.Output)
		}
		if !s.dropped() {
			s.t.Error("nothing says that data was dropped")
		}
	}
	s.settled(func() error { return s.a.unstage(s.ctx, s.v) })
	if left := s.a.state(); len(left.Controllers)+len(left.Mounts)+len(left.Records) > 0 {
		s.t.Errorf("left on A: %q %q %q", left.Controllers, left.Mounts, left.Records)
	}
	s.podsFail()
}

// hangs: a kernel that tries for ever cannot unmount, and the driver does not force it.
func (s *scene) hangs() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, 20*time.Second)
	defer cancel()
	err := s.a.unstage(ctx, s.v)
	want, says := codes.Unavailable, "umount still hangs"
	if s.held { // by a mount that the pod alone still has
		want, says = codes.FailedPrecondition, "open exclusively"
	}
	if status.Code(err) != want || !strings.Contains(err.Error(), says) {
		s.t.Errorf("NodeUnstage: %v", err)
	}
	if now := s.a.state(); len(now.Controllers) != 1 || len(now.Records) != 1 {
		s.t.Errorf("A has %q %q", now.Controllers, now.Records)
	}
}

// podsFail: what a pod waits for is lost, and it is told so.
func (s *scene) podsFail() {
	s.t.Helper()
	if s.held {
		s.a.await("the pod's sync comes to its end", func() bool { return s.pod.synced().Over })
		if s.pod.synced().Error == "" {
			s.t.Error("the pod's sync has claimed success")
		}
		s.held = false // it takes no more calls
	}
	s.a.await("the pod ends", s.a.endPods)
}

// The volume has come back to A, which reaches the array by another way; its old one is still cut.
func (f fencing) testBackWhileCutOff(t *testing.T) {
	s := f.begin(t)
	s.cutOff()
	s.moveToB()
	ok(t, s.unpublish(s.ctx, s.v, s.b))
	s.a.by(1)
	s.back()
	if !s.dropped() {
		t.Error("nothing says that data was dropped")
	}
	before := s.useAgain()
	s.a.ways[0].heal()
	s.a.await("nothing is under way any more", func() bool { return s.a.ways[0].open() == 0 })
	s.array.wantSame(t, s.v, before)
	ok(t, s.unpublish(s.ctx, s.v, s.a.node))
	ok(t, s.delete(s.ctx, s.v))
}

// The volume has come back to A before A's network has; and A's kernel, which tries to reconnect, before
// kubelet.
func (f fencing) testBackAfterHeal(t *testing.T) {
	s := f.begin(t)
	s.cutOff()
	before := s.moveToB()
	ok(t, s.unpublish(s.ctx, s.v, s.b))
	ok(t, s.publish(s.ctx, s.v, s.a.node))
	s.healed()
	s.array.wantSame(t, s.v, before)
	s.back()
	if s.dropped() != oldKernel(t) { // a new one has no controller any more: nothing was left to drop
		t.Errorf("the log says that data was dropped: %t", s.dropped())
	}
	s.array.wantSame(t, s.v, s.useAgain()) // nobody has it any more; what counts is that nothing is late
	ok(t, s.unpublish(s.ctx, s.v, s.a.node))
	ok(t, s.delete(s.ctx, s.v))
}

// back stages the volume on A again: what is left of the old attachment goes by itself.
func (s *scene) back() {
	s.t.Helper()
	begun := time.Now()
	if s.fs == "btrfs" && s.held && oldKernel(s.t) { // which has the UUID of the old pod's dead copy
		s.settled(func() error {
			err := s.a.attach(s.ctx, s.v, "pod-2")
			if status.Code(err) == codes.FailedPrecondition && strings.Contains(err.Error(), "a container with a dead copy") {
				return nil
			}
			return cmp.Or(err, errors.New("mounted beside a dead copy"))
		})
		s.podsFail()
	}
	s.settled(func() error { return s.a.attach(s.ctx, s.v, "pod-2") })
	s.t.Logf("A has the volume again after %s", time.Since(begun).Round(time.Millisecond))
	if s.nqn(s.a.node) == s.old {
		s.t.Error("the volume has come back under its old name")
	}
	if now := s.a.state(); len(now.Controllers) != 1 || !strings.HasSuffix(now.Controllers[0], "live "+s.nqn(s.a.node)) {
		s.t.Errorf("A has the controllers %q, and should have just one, of %s", now.Controllers, s.nqn(s.a.node))
	} else if slices.Contains(now.Mounts, s.a.path(s.v, "pod")) || !slices.Contains(now.Mounts, s.a.path(s.v, "pod-2")) {
		s.t.Errorf("A has the mounts %q", now.Mounts)
	}
}

// useAgain has a new pod on A find what B has written, and write. It gives what is on the array once the
// volume is unmounted.
func (s *scene) useAgain() image {
	s.t.Helper()
	pod := s.a.pod(s.v, "pod-2")
	pod.check(ofB)
	pod.check(besideB)
	pod.write(ofALater)
	pod.check(ofALater)
	s.podsFail()
	for _, name := range []string{"pod", "pod-2"} {
		ok(s.t, s.a.unpublish(s.ctx, s.v, name))
	}
	ok(s.t, s.a.unstage(s.ctx, s.v))
	return s.array.imageOf(s.v)
}

package driver

import (
	"context"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

// questions writes down what is asked of NVMe about a device, and how often that is open at the moment.
type questions struct {
	Transport
	machine *machine

	mu    sync.Mutex
	asked []question
}

type question struct {
	name    string
	handles int
}

func (q *questions) note(name, path string) {
	handles := q.machine.mounts.Handles(q.machine.short(path))
	q.mu.Lock()
	defer q.mu.Unlock()
	q.asked = append(q.asked, question{name, handles})
}

func (q *questions) take() []question {
	q.mu.Lock()
	defer q.mu.Unlock()
	asked := q.asked
	q.asked = nil
	return asked
}

func (q *questions) Find(ctx context.Context, nqn, hostNQN string) (nvme.Device, error) {
	d, err := q.Transport.Find(ctx, nqn, hostNQN)
	q.note("find", d.Path)
	return d, err
}

func (q *questions) Still(ctx context.Context, nqn, hostNQN string, d nvme.Device) error {
	q.note("still", d.Path)
	return q.Transport.Still(ctx, nqn, hostNQN, d)
}

func questioned(t *testing.T) (*volume, *machine, *questions) {
	t.Helper()
	r := newRig(t)
	q := &questions{machine: r.a}
	r.a.watch = func(inner Transport) Transport {
		q.Transport = inner
		return q
	}
	r.a.boot()
	v := r.create(t, "v", gib, mounted("ext4", nodeWriter))
	wantCode(t, v.publishTo(r.a), codes.OK)
	return v, r.a, q
}

// As long as this call holds the device without a break, it is enough to look where it was. Each question is
// asked by a step that has a descriptor of its own, so that there are two.
func TestWhoseADeviceIsIsAskedWhileTheCallHoldsIt(t *testing.T) {
	v, m, q := questioned(t)
	for _, stage := range []string{"fresh", "formatted"} {
		wantCode(t, v.stage(m), codes.OK)
		asked := q.take()
		if len(asked) < 3 { // before the probe, before the mount and after it
			t.Errorf("%s: asked only %v", stage, asked)
		}
		for _, a := range asked {
			if a.name != "still" || a.handles < 2 {
				t.Errorf("%s: asked %v", stage, asked)
			}
		}
		wantCode(t, v.unstage(m), codes.OK)
		q.take()
	}
}

// A mount that was still under way when the call ended is held by its own step only.
func TestAMountThatOutlivesItsCallAsksInFull(t *testing.T) {
	v, m, q := questioned(t)
	wantCode(t, v.stage(m), codes.OK)
	wantCode(t, v.unstage(m), codes.OK)
	q.take()
	release := m.mounts.Hang("mount", v.stagingPath(m))
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	wantCode(t, v.stageIn(ctx, m), codes.Unavailable)
	before := q.take()
	if len(before) == 0 || before[len(before)-1].name != "still" {
		t.Fatalf("it did not come to the mount: %v", before)
	}
	release()
	wantCode(t, v.stage(m), codes.OK) // which waits for the first
	after := q.take()
	if len(after) == 0 || after[0].name != "find" {
		t.Errorf("after the call had ended: %v", after)
	}
	wantCode(t, v.unstage(m), codes.OK)
}

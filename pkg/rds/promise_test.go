package rds_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
)

// want is a call of a controller.
type want struct {
	what string // "create" or "grow"
	name string
	size uint64
}

func (w want) call(ctx context.Context, a *rds.Array) error {
	if w.what == "create" {
		_, _, err := a.Create(ctx, rds.CreateRequest{Name: w.name, Size: rds.Size{Required: w.size}})
		return err
	}
	_, _, err := a.Grow(ctx, rds.Slot(cluster, w.name), rds.Size{Required: w.size})
	return err
}

// contest is a pool with volumes of 10 GiB, and calls that each fit into it, but not together.
type contest struct {
	there []string
	calls []want
	depth int // how many commands are interleaved in every order
	fit   int // how many of the calls fit
}

func contests() map[string]contest {
	return map[string]contest{
		"create and create": {nil, []want{{"create", "a", 50 * gib}, {"create", "b", 50 * gib}}, 6, 1},
		"create and grow":   {[]string{"x"}, []want{{"create", "a", 45 * gib}, {"grow", "x", 50 * gib}}, 7, 1},
		"grow and grow":     {[]string{"x", "y"}, []want{{"grow", "x", 50 * gib}, {"grow", "y", 50 * gib}}, 7, 1},
		"one create twice, and another": {nil, []want{
			{"create", "a", 50 * gib}, {"create", "a", 50 * gib}, {"create", "b", 50 * gib}}, 4, 2},
		"one grow twice, and a create": {[]string{"x"}, []want{
			{"grow", "x", 50 * gib}, {"grow", "x", 50 * gib}, {"create", "b", 45 * gib}}, 4, 2},
	}
}

// arena is a simulated array with a console for each controller.
type arena struct {
	rig
	contest
	cfgs  []rds.Config
	slots map[string]uint64 // of the volumes that are there at first
}

func newArena(t *testing.T, c contest) *arena {
	r := arena{rig: newRig(t, rdssim.Options{}), contest: c, slots: map[string]uint64{}}
	for range c.calls {
		r.cfgs = append(r.cfgs, withConsole(t, r.sim, rds.Config{HostACL: true}, 1))
	}
	return &r
}

// reset brings the array back to how the contest begins.
func (r *arena) reset(t *testing.T) {
	t.Helper()
	for _, it := range volumes(r.sim.Items()) {
		if _, err := r.Delete(soon(t), it.Slot); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(poolDir(r.rig)); err != nil || len(left) != 0 {
		t.Fatalf("left in the pool: %v, %v", left, err)
	}
	for _, name := range r.there {
		r.mustCreate(t, name, 10*gib)
	}
}

// mustKeep fails where the volumes that a caller may have been told of are larger than may be promised.
func (r *arena) mustKeep(t *testing.T, most uint64) {
	t.Helper()
	var promised uint64
	for _, it := range volumes(r.sim.Items()) {
		if !strings.Contains(it.Comment, " -- rds-csi new ") {
			promised += it.Size
		}
	}
	if promised > most {
		t.Fatalf("%d bytes are promised, more than the %d that may be: %+v", promised, most, r.sim.Items())
	}
}

// settle repeats every call as Kubernetes does, until each has a final answer, and counts those that are OK.
func (r *arena) settle(t *testing.T) (ok int) {
	t.Helper()
	for i, w := range r.calls {
		var err error
		for range 20 {
			if err = w.call(soon(t), rds.New(r.cfgs[i])); fault.KindOf(err) != fault.Unavailable {
				break
			}
		}
		switch fault.KindOf(err) {
		case "":
			ok++
		case fault.NoSpace:
		default:
			t.Fatalf("%+v: %v", w, err)
		}
	}
	return ok
}

// mustEnd: after the repeats as many calls are OK as fit, and the array shows it.
func (r *arena) mustEnd(t *testing.T, most uint64) {
	t.Helper()
	ok := r.settle(t)
	r.mustKeep(t, most)
	if ok != r.fit && ok != len(r.calls)-r.fit || ok == 0 {
		t.Fatalf("%d calls are OK in the end, %d fit: %+v", ok, r.fit, r.sim.Items())
	}
	entries, err := os.ReadDir(poolDir(r.rig))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.Contains(e.Name(), ".grow-") {
			t.Fatalf("left in the pool: %s", e.Name())
		}
	}
	for _, it := range volumes(r.sim.Items()) {
		if !strings.HasSuffix(it.Comment, " -- rds-csi free") {
			t.Fatalf("left: %+v", it)
		}
	}
}

// Controllers in several pods look at the pool at the same moment, and each sees room: whatever the order of their
// commands, no more is promised than may be, and whoever comes again gets what is there.
func TestControllersNeverPromiseAPoolsLastBytesTwice(t *testing.T) {
	for name, c := range contests() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newArena(t, c)
			most := r.most(t)
			won := map[int]int{}
			for _, order := range orders(len(c.calls), c.depth) {
				r.reset(t)
				actors := r.begin(t)
				interleave(t.Context(), order, func() { r.mustKeep(t, most) }, actors...)
				ok := 0
				for i, a := range actors {
					switch fault.KindOf(a.err) {
					case "":
						ok++
					case fault.NoSpace, fault.Unavailable:
					default:
						t.Fatalf("order %v: %+v: %v", order, c.calls[i], a.err)
					}
				}
				won[ok]++
				r.mustEnd(t, most)
				if t.Failed() {
					t.Fatalf("in order %v", order)
				}
			}
			t.Logf("orders by number of calls that were OK at once: %v", won)
		})
	}
}

// The same, and one of the processes ends before one of its commands.
func TestControllersThatDieNeverPromiseAPoolsLastBytesTwice(t *testing.T) {
	for name, c := range contests() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newArena(t, c)
			most := r.most(t)
			for _, order := range orders(2, 4) {
				for dies := range 5 {
					r.reset(t)
					actors := r.begin(t)
					for range dies {
						actors[0].step(true)
						if len(order) > 0 && order[0] == 1 {
							actors[1].step(true)
						}
						r.mustKeep(t, most)
					}
					actors[0].step(false)
					interleave(t.Context(), order, func() { r.mustKeep(t, most) }, actors...)
					r.mustEnd(t, most)
					if t.Failed() {
						t.Fatalf("in order %v, dead after %d", order, dies)
					}
				}
			}
		})
	}
}

func (r *arena) begin(t *testing.T) []*actor {
	actors := make([]*actor, len(r.calls))
	for i, w := range r.calls {
		actors[i] = begin(soon(t), r.cfgs[i], w.call)
	}
	return actors
}

func (r *arena) most(t *testing.T) uint64 {
	t.Helper()
	p, err := r.Pool(soon(t), "")
	if err != nil {
		t.Fatal(err)
	}
	return p.Size / 100 * 90
}

// An announcement whose process has ended keeps its room, says so, and goes with the volume's next growth or
// with the volume.
func TestAStaleAnnouncementKeepsItsRoomUntilTheNextGrowth(t *testing.T) {
	r := newRig(t, rdssim.Options{})
	v := r.mustCreate(t, "x", 10*gib)
	gone := rds.Slot(cluster, "gone")
	for _, name := range []string{v.Slot + ".grow-53687091200-0a1b2c3d", v.Slot + ".grow-10737418240-0a1b2c3d", gone + ".grow-53687091200-0a1b2c3d", "my.grow-notes"} {
		r.console(t, `/file add name="`+pool+`/`+name+`" type=directory`)
	}
	_, _, err := r.Create(soon(t), rds.CreateRequest{Name: "a", Size: rds.Size{Required: 45 * gib}})
	wantKind(t, err, fault.NoSpace)
	if want := `growth of 42949672960 under way, see /file print where name~".grow-"`; !strings.Contains(err.Error(), want) {
		t.Errorf("error %q does not say %q", err, want)
	}
	if n := len(volumes(r.sim.Items())); n != 1 {
		t.Errorf("%d volumes", n)
	}
	small := r.mustCreate(t, "s", gib) // while growth is under way the driver itself counts
	if small.Comment != "rds-csi cluster=c1 pvc=- pv=- -- rds-csi free" {
		t.Errorf("comment %q", small.Comment)
	}
	if v, grown, err := r.Grow(soon(t), v.Slot, rds.Size{Required: 11 * gib}); err != nil || !grown || v.Size != 11*gib {
		t.Fatalf("%+v, %v, %v", v, grown, err)
	}
	r.mustCreate(t, "a", 45*gib)
	entries, err := os.ReadDir(poolDir(r))
	if err != nil || len(entries) != 5 { // three volumes, what is of no volume, and what is somebody else's
		t.Errorf("in the pool: %v, %v", entries, err)
	}
	r.console(t, `/file add name="`+pool+`/`+v.Slot+`.grow-53687091200-0a1b2c3d" type=directory`)
	if _, err := r.Delete(soon(t), v.Slot); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(poolDir(r) + "/" + v.Slot + ".grow-53687091200-0a1b2c3d"); !os.IsNotExist(err) {
		t.Errorf("the announcement of a deleted volume is still there: %v", err)
	}
}

func TestGrowCostsThreeExecs(t *testing.T) {
	r := newRig(t, rdssim.Options{})
	v := r.mustCreate(t, "x", gib)
	before := r.sim.Execs()
	if _, _, err := r.Grow(soon(t), v.Slot, rds.Size{Required: 2 * gib}); err != nil {
		t.Fatal(err)
	}
	if got := r.sim.Execs() - before; got != 3 {
		t.Errorf("%d execs", got)
	}
}

package rds_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
)

func TestDeleteLeavesNothing(t *testing.T) {
	for _, fs := range []string{"btrfs", "xfs"} {
		t.Run(fs, func(t *testing.T) {
			r := newRig(t, rdssim.Options{Pools: []rdssim.Pool{{Name: pool, FS: fs, Size: 100 * gib}}})
			empty := r.sim.State()
			v := r.mustCreate(t, "a", gib)
			if _, err := r.Publish(soon(t), publish(v.Slot, "n1")); err != nil {
				t.Fatal(err)
			}
			_, err := r.Delete(soon(t), v.Slot)
			wantKind(t, err, fault.Busy)
			if !strings.Contains(err.Error(), node("n1").ID) {
				t.Errorf("the holder is not named: %v", err)
			}
			if _, err := r.Unpublish(soon(t), v.Slot, node("n1")); err != nil {
				t.Fatal(err)
			}
			before := r.sim.Execs()
			if existed, err := r.Delete(soon(t), v.Slot); err != nil || !existed {
				t.Fatalf("existed %v, %v", existed, err)
			}
			if got := r.sim.Execs() - before; got != 1 {
				t.Errorf("a delete took %d execs, want 1", got)
			}
			if existed, err := r.Delete(soon(t), v.Slot); err != nil || existed {
				t.Errorf("again: existed %v, %v", existed, err)
			}
			if now := r.sim.State(); fmt.Sprint(now.Items) != fmt.Sprint(empty.Items) {
				t.Errorf("left behind: %v, at first %v", now.Items, empty.Items)
			}
			if out := r.sim.Run(t.Context(), `/file print`); strings.Contains(out, v.Slot) {
				t.Errorf("left behind:\n%s", out)
			}
		})
	}
}

func TestDeleteOfWhatCannotBeOurs(t *testing.T) {
	r := newRig(t, rdssim.Options{})
	if existed, err := r.Delete(soon(t), "no-such-slot"); err != nil || existed {
		t.Errorf("absent: existed %v, %v", existed, err)
	}
	_, err := r.Delete(soon(t), pool)
	wantKind(t, err, fault.Precondition) // the pool's own item
	slot := rds.Slot(cluster, "made by hand")
	r.console(t, `/file add name="storage-pool/`+slot+`" type=directory`)
	r.console(t, `/disk add type=file slot="`+slot+`" file-path="/storage-pool/`+slot+`/disk.img" file-size=1M comment="mine"`)
	_, err = r.Delete(soon(t), slot)
	wantKind(t, err, fault.Precondition)
}

func TestGrowNeverShrinks(t *testing.T) {
	r := newRig(t, rdssim.Options{})
	v := r.mustCreate(t, "a", gib)
	for _, tt := range []struct {
		name            string
		required, limit uint64
		size            uint64
		grown           bool
		kind            fault.Kind
	}{
		{"same", gib, 0, gib, false, ""},
		{"a byte more", gib + 1, 0, gib + 4096, true, ""},
		{"again", gib + 1, 0, gib + 4096, false, ""},
		{"smaller is there already", 4096, 0, gib + 4096, false, ""},
		{"must be smaller", 4096, 8192, 0, false, fault.OutOfRange},
		{"more than there is", 500 * gib, 0, 0, false, fault.NoSpace},
	} {
		got, grown, err := r.Grow(soon(t), v.Slot, rds.Size{Required: tt.required, Limit: tt.limit})
		if fault.KindOf(err) != tt.kind || grown != tt.grown || got.Size != tt.size {
			t.Errorf("%s: size %d, grown %v, %v; want %d, %v, %q", tt.name, got.Size, grown, err, tt.size, tt.grown, tt.kind)
		}
	}
	_, _, err := r.Grow(soon(t), rds.Slot(cluster, "none"), rds.Size{Required: gib})
	wantKind(t, err, fault.NotFound)
}

func TestCapacityKeepsAReserveAndPromisesNothingTwice(t *testing.T) {
	r := newRig(t, rdssim.Options{Pools: []rdssim.Pool{{Name: pool, FS: "xfs", Size: 10 * gib}}})
	p, err := r.Pool(soon(t), "")
	if err != nil || p.Size == 0 || p.Available() == 0 || p.Available() > p.Size/10*9 {
		t.Fatalf("%+v, available %d, %v", p, p.Available(), err)
	}
	r.mustCreate(t, "a", 4*gib)
	after, err := r.Pool(soon(t), "")
	if err != nil || after.Provisioned != 4*gib || after.Available() > p.Available()-4*gib {
		t.Errorf("%+v, available %d, %v", after, after.Available(), err)
	}
	_, _, err = r.Create(soon(t), rds.CreateRequest{Name: "b", Size: rds.Size{Required: after.Available() + 4096}})
	wantKind(t, err, fault.NoSpace)
	r.mustCreate(t, "c", after.Available()/4096*4096)
}

func TestFiguresAreOfThePoolsThatAreUsed(t *testing.T) {
	const other, unused = "other-pool", "unused-pool"
	r := newRig(t, rdssim.Options{Pools: []rdssim.Pool{
		{Name: pool, FS: "xfs", Size: 10 * gib}, {Name: other, FS: "xfs", Size: 20 * gib}, {Name: unused, FS: "xfs", Size: gib},
	}})
	r.mustCreate(t, "a", gib)
	if _, _, err := r.Create(soon(t), rds.CreateRequest{Name: "b", Size: rds.Size{Required: 2 * gib}, Pool: other}); err != nil {
		t.Fatal(err)
	}
	r.console(t, `/disk add type=file slot="mine" file-path="/`+pool+`/mine.img" file-size=1M comment="mine"`)
	f, err := r.Figures(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Volumes) != 2 {
		t.Errorf("%d volumes, want 2: a disk made by hand is none", len(f.Volumes))
	}
	var names []string
	for _, p := range f.Pools {
		names = append(names, p.MountPoint)
	}
	if want := []string{other, pool}; !slices.Equal(names, want) {
		t.Fatalf("pools %q, want %q", names, want)
	}
	for i, want := range []uint64{2 * gib, gib + 1<<20} { // what somebody else has made takes room, too
		if f.Pools[i].Provisioned != want {
			t.Errorf("%s: %d provisioned, want %d", names[i], f.Pools[i].Provisioned, want)
		}
	}
}

// It takes nothing from what is known of the others.
func TestFiguresOfAPoolThatIsNotThere(t *testing.T) {
	sim := simulate(t, rdssim.Options{})
	array := rds.New(withConsole(t, sim, rds.Config{Pool: "nowhere"}, 1))
	if _, _, err := array.Create(soon(t), rds.CreateRequest{Name: "a", Size: rds.Size{Required: gib}, Pool: pool}); err != nil {
		t.Fatal(err)
	}
	f, err := array.Figures(soon(t))
	if fault.KindOf(err) == "" || len(f.Volumes) != 1 || len(f.Pools) != 1 || f.Pools[0].MountPoint != pool {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestParallelCreatesDoNotOverfillThePool(t *testing.T) {
	sim := simulate(t, rdssim.Options{Pools: []rdssim.Pool{{Name: pool, FS: "xfs", Size: 10 * gib}}})
	array := rds.New(withConsole(t, sim, rds.Config{HostACL: true}, 4))
	var running sync.WaitGroup
	var made, full int
	var mu sync.Mutex
	for i := range 20 {
		running.Go(func() {
			_, _, err := array.Create(soon(t), rds.CreateRequest{Name: fmt.Sprint("v", i), Size: rds.Size{Required: gib}})
			mu.Lock()
			defer mu.Unlock()
			switch fault.KindOf(err) {
			case "":
				made++
			case fault.NoSpace:
				full++
			default:
				t.Error(err)
			}
		})
	}
	running.Wait()
	if made+full != 20 || made == 0 || made > 9 {
		t.Errorf("%d made, %d refused", made, full)
	}
	if got := len(volumes(sim.Items())); got != made {
		t.Errorf("%d on the array, %d made", got, made)
	}
}

func TestHundredCreatesAtOnce(t *testing.T) {
	sim := simulate(t, rdssim.Options{Latency: 20 * time.Millisecond, Pools: []rdssim.Pool{{Name: pool, FS: "btrfs", Size: 1 << 40}}})
	array := client(t, sim, rds.Config{HostACL: true})
	var running sync.WaitGroup
	for i := range 100 {
		running.Go(func() {
			if _, existed, err := array.Create(soon(t), rds.CreateRequest{Name: fmt.Sprint("v", i), Size: rds.Size{Required: gib}}); err != nil || existed {
				t.Errorf("v%d: existed %v, %v", i, existed, err)
			}
		})
	}
	running.Wait()
	if got := len(volumes(sim.Items())); got != 100 {
		t.Errorf("%d volumes on the array, want 100", got)
	}
	if got := sim.PeakSessions(); got != 1 {
		t.Errorf("%d sessions at once, want 1", got)
	}
}

func TestListShowsOursAndNobodys(t *testing.T) {
	r := newRig(t, rdssim.Options{})
	var want []string
	for i := range 5 {
		want = append(want, r.mustCreate(t, fmt.Sprint("v", i), gib).Slot)
	}
	r.console(t, `/disk add type=file slot="vm-1" file-path="/storage-pool/vm-1.img" file-size=1G`)
	want = append(want, "vm-1")
	slices.Sort(want)
	list, err := r.List(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range list {
		got = append(got, v.Slot)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestOldRouterOSIsRefusedInASentence(t *testing.T) {
	r := newRig(t, rdssim.Options{Version: "7.20.8"})
	for name, call := range map[string]func() error{
		"create": func() error {
			_, _, err := r.Create(soon(t), rds.CreateRequest{Name: "a", Size: rds.Size{Required: gib}})
			return err
		},
		"delete":  func() error { _, err := r.Delete(soon(t), rds.Slot(cluster, "a")); return err },
		"list":    func() error { _, err := r.List(soon(t)); return err },
		"publish": func() error { _, err := r.Publish(soon(t), publish(rds.Slot(cluster, "a"), "n1")); return err },
		"look":    func() error { _, err := r.Look(soon(t)); return err },
	} {
		err := call()
		if fault.KindOf(err) != fault.Precondition || !strings.Contains(err.Error(), "7.20.8") || !strings.Contains(err.Error(), "7.21 or newer") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

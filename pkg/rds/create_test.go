package rds_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
)

func TestCreateIsExactInBytesAndRepeatable(t *testing.T) {
	for _, fs := range []string{"btrfs", "xfs", "ext4"} {
		t.Run(fs, func(t *testing.T) {
			r := newRig(t, rdssim.Options{Pools: []rdssim.Pool{{Name: pool, FS: fs, Size: 100 * gib}}})
			for _, tt := range []struct {
				name            string
				required, limit uint64
				size            uint64
			}{
				{"one byte", 1, 0, 4096},
				{"one GiB and a byte", gib + 1, 0, gib + 4096},
				{"one and a half GiB", gib * 3 / 2, 0, gib * 3 / 2},
				{"exactly what is allowed", 4096 * 5, 4096 * 5, 4096 * 5},
				{"five thirds of a GiB", gib * 5 / 3, 2 * gib, (gib*5/3 + 4095) / 4096 * 4096},
			} {
				req := rds.CreateRequest{Name: tt.name, Size: rds.Size{Required: tt.required, Limit: tt.limit}}
				v, existed, err := r.Create(soon(t), req)
				if err != nil || existed || v.Size != tt.size {
					t.Fatalf("%s: size %d, existed %v, %v; want size %d", tt.name, v.Size, existed, err, tt.size)
				}
				again, existed, err := r.Create(soon(t), req)
				if err != nil || !existed || again.Size != tt.size || again.Slot != v.Slot {
					t.Fatalf("%s again: %+v, existed %v, %v", tt.name, again, existed, err)
				}
				if v.Exported || v.Path != "/"+pool+"/"+v.Slot+"/disk.img" || len(v.Slot) != 32 {
					t.Errorf("%s: %+v", tt.name, v)
				}
			}
		})
	}
}

func TestCreateCostsTwoExecs(t *testing.T) {
	r := newRig(t, rdssim.Options{})
	if _, err := r.Look(soon(t)); err != nil {
		t.Fatal(err)
	}
	before := r.sim.Execs()
	r.mustCreate(t, "a", gib)
	if got := r.sim.Execs() - before; got != 2 {
		t.Errorf("a create took %d execs, want 2", got)
	}
}

func TestCreateExplainsConflicts(t *testing.T) {
	r := newRig(t, rdssim.Options{Pools: []rdssim.Pool{{Name: pool, FS: "btrfs", Size: 100 * gib}, {Name: "other", FS: "xfs", Size: 10 * gib}}})
	r.mustCreate(t, "a", gib)
	for _, tt := range []struct {
		name string
		req  rds.CreateRequest
		kind fault.Kind
		says string
	}{
		{"larger", rds.CreateRequest{Name: "a", Size: rds.Size{Required: 2 * gib}}, fault.Conflict, "it exists with 1073741824 bytes"},
		{"smaller", rds.CreateRequest{Name: "a", Size: rds.Size{Required: 4096, Limit: 8192}}, fault.Conflict, "wanted are 4096 to 8192"},
		{"other pool", rds.CreateRequest{Name: "a", Size: rds.Size{Required: gib}, Pool: "other"}, fault.Conflict, `it exists in pool "storage-pool"`},
		{"limit below a block", rds.CreateRequest{Name: "b", Size: rds.Size{Required: 4097, Limit: 5000}}, fault.OutOfRange, "blocks of 4096"},
		{"no such pool", rds.CreateRequest{Name: "b", Size: rds.Size{Required: gib}, Pool: "nope"}, fault.Invalid, "mounted at \"nope\""},
		{"too large", rds.CreateRequest{Name: "b", Size: rds.Size{Required: 200 * gib}}, fault.NoSpace, "available in pool storage-pool"},
		{"absurd", rds.CreateRequest{Name: "b", Size: rds.Size{Required: 1<<64 - 1}}, fault.OutOfRange, "more than any array holds"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := r.Create(soon(t), tt.req)
			wantKind(t, err, tt.kind)
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %q does not say %q", err, tt.says)
			}
		})
	}
	if items := r.sim.Items(); len(volumes(items)) != 1 {
		t.Errorf("left on the array: %v", items)
	}
}

func TestCreateNeverAdoptsALeftoverFile(t *testing.T) {
	r := newRig(t, rdssim.Options{})
	v := r.mustCreate(t, "a", gib)
	if err := r.sim.RemoveBehindBack(v.Slot); err != nil {
		t.Fatal(err)
	}
	_, _, err := r.Create(soon(t), rds.CreateRequest{Name: "a", Size: rds.Size{Required: gib}})
	wantKind(t, err, fault.Precondition)
	if _, err := os.Stat(filepath.Join(poolDir(r), v.Slot, "disk.img")); err != nil {
		t.Errorf("the leftover file was touched: %v", err)
	}
	if existed, err := r.Delete(soon(t), v.Slot); err != nil || !existed {
		t.Fatalf("delete of the leftover: existed %v, %v", existed, err)
	}
	if _, err := os.Stat(filepath.Join(poolDir(r), v.Slot)); !os.IsNotExist(err) {
		t.Errorf("the leftover is still there: %v", err)
	}
	r.mustCreate(t, "a", gib)
}

func TestClustersDoNotShareVolumes(t *testing.T) {
	r := newRig(t, rdssim.Options{})
	v := r.mustCreate(t, "a", gib)
	other := client(t, r.sim, rds.Config{Cluster: "c10", HostACL: true}) // c1 is how it begins
	w, existed, err := other.Create(soon(t), rds.CreateRequest{Name: "a", Size: rds.Size{Required: gib}})
	if err != nil || existed || w.Slot == v.Slot {
		t.Fatalf("%+v, existed %v, %v", w, existed, err)
	}
	_, err = other.Delete(soon(t), v.Slot)
	wantKind(t, err, fault.Precondition)
	_, _, err = other.Grow(soon(t), v.Slot, rds.Size{Required: 2 * gib})
	wantKind(t, err, fault.Precondition)
	_, err = other.Publish(soon(t), publish(v.Slot, "n1"))
	wantKind(t, err, fault.Precondition)
	list, err := other.List(soon(t))
	if err != nil || len(list) != 1 || list[0].Slot != w.Slot {
		t.Errorf("list = %v, %v", list, err)
	}
}

func poolDir(r rig) string { return filepath.Join(filepath.Dir(r.sim.ClientKeyFile()), "pools", pool) }

func TestWithoutAPoolNothingIsAsked(t *testing.T) {
	sim := simulate(t, rdssim.Options{})
	cfg := withConsole(t, sim, rds.Config{HostACL: true}, 1)
	cfg.Pool = ""
	array := rds.New(cfg)
	_, _, err := array.Create(soon(t), rds.CreateRequest{Name: "a", Size: rds.Size{Required: gib}})
	wantKind(t, err, fault.Invalid)
	_, err = array.Pool(soon(t), "/")
	wantKind(t, err, fault.Invalid)
	if sim.Execs() != 0 {
		t.Errorf("%d execs", sim.Execs())
	}
}

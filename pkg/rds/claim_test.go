package rds_test

import (
	"fmt"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
)

const newComment = "rds-csi cluster=c1 pvc=- pv=- -- rds-csi new 01234567"

// unfinished is a volume that a create has left behind between the add and its end.
func unfinished(t *testing.T, r rig, name string, size uint64) rds.Volume {
	t.Helper()
	v := r.mustCreate(t, name, size)
	r.comment(t, v.Slot, newComment)
	return v
}

func TestAnUnfinishedCreateIsEndedByTheNextCall(t *testing.T) {
	for _, tt := range []struct {
		name  string
		other uint64 // size of another volume
		kind  fault.Kind
	}{
		{"there is room", 10 * gib, ""},
		{"there is none", 45 * gib, fault.NoSpace},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, rdssim.Options{})
			v := unfinished(t, r, "a", 50*gib)
			r.console(t, `/disk add type=file slot="mine" file-path="/`+pool+`/mine.img" file-size=1M`)
			r.console(t, fmt.Sprintf("/disk set mine file-size=%d", tt.other))
			got, existed, err := r.Create(soon(t), rds.CreateRequest{Name: "a", Size: rds.Size{Required: 50 * gib}})
			wantKind(t, err, tt.kind)
			if existed {
				t.Error("nobody was told of it before")
			}
			_, lookErr := r.Get(soon(t), v.Slot)
			switch {
			case tt.kind == "" && (got.Record.New || lookErr != nil):
				t.Errorf("%+v, %v", got, lookErr)
			case tt.kind != "" && fault.KindOf(lookErr) != fault.NotFound:
				t.Errorf("it is still there: %v", lookErr)
			}
		})
	}
}

// What the call is not about stays as it is.
func TestAnUnfinishedCreateOfAnotherSizeIsAConflict(t *testing.T) {
	r := newRig(t, rdssim.Options{})
	v := unfinished(t, r, "a", gib)
	_, _, err := r.Create(soon(t), rds.CreateRequest{Name: "a", Size: rds.Size{Required: 2 * gib}})
	wantKind(t, err, fault.Conflict)
	if now, err := r.Get(soon(t), v.Slot); err != nil || now.Comment != newComment {
		t.Errorf("%+v, %v", now, err)
	}
}

// A volume in this state can be deleted and published like any other: a node that holds it is never overlooked.
func TestAnUnfinishedVolumeIsAVolume(t *testing.T) {
	r := newRig(t, rdssim.Options{})
	v := unfinished(t, r, "a", gib)
	p := r.mustPublish(t, v.Slot, "n1")
	if p.Record.New || !p.Record.HeldBy(node("n1").ID) {
		t.Errorf("%+v", p.Record)
	}
	if _, err := r.Unpublish(soon(t), v.Slot, node("n1")); err != nil {
		t.Fatal(err)
	}
	if got, existed, err := r.Create(soon(t), rds.CreateRequest{Name: "a", Size: rds.Size{Required: gib}}); err != nil || !existed || got.Record.New {
		t.Errorf("%+v, existed %v, %v", got, existed, err)
	}
	w := unfinished(t, r, "b", gib)
	if existed, err := r.Delete(soon(t), w.Slot); err != nil || !existed {
		t.Errorf("existed %v, %v", existed, err)
	}
}

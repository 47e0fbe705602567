package rds_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
)

// What an administrator, another cluster or a second controller may do beside us.

func (r rig) mustPublish(t *testing.T, slot, name string) rds.Published {
	t.Helper()
	p, err := r.Publish(soon(t), publish(slot, name))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (r rig) comment(t *testing.T, slot, text string) {
	t.Helper()
	r.console(t, `/disk set [find slot="`+slot+`"] comment="`+text+`"`)
}

// A→B→A with an edited comment: the first session of A must never be able to come back.
func TestAnEditedCommentNeverKeepsAnOldNQN(t *testing.T) {
	for _, acl := range []bool{true, false} {
		sim := simulate(t, rdssim.Options{})
		r := rig{Array: client(t, sim, rds.Config{HostACL: acl}), sim: sim}
		v := r.mustCreate(t, "a", gib)
		first := r.mustPublish(t, v.Slot, "n1")
		r.comment(t, v.Slot, "edited")
		if _, err := r.Unpublish(soon(t), v.Slot, rds.Node{}); err != nil {
			t.Fatal(err)
		}
		if sim.MayConnect(first.NQN, node("n1").HostNQN) {
			t.Errorf("acl %v: the node can still connect", acl)
		}
		_, err := r.Publish(soon(t), publish(v.Slot, "n2"))
		wantKind(t, err, fault.Precondition)
		r.comment(t, v.Slot, v.Comment)
		if second := r.mustPublish(t, v.Slot, "n1"); second.NQN == first.NQN {
			t.Errorf("acl %v: the old NQN is good again", acl)
		}
	}
}

// Without an ACL and without a record nobody knows who holds the volume: that is no OK.
func TestUnpublishDoesNotSayOKToWhatItCannotKnow(t *testing.T) {
	sim := simulate(t, rdssim.Options{})
	r := rig{Array: client(t, sim, rds.Config{HostACL: false}), sim: sim}
	v := r.mustCreate(t, "a", gib)
	p := r.mustPublish(t, v.Slot, "n1")
	r.comment(t, v.Slot, "edited")
	_, err := r.Unpublish(soon(t), v.Slot, node("n1"))
	if err == nil && sim.MayConnect(p.NQN, node("n1").HostNQN) {
		t.Error("told OK, but the node can connect")
	}
	wantKind(t, err, fault.Precondition)
}

func TestOnlySharedHoldersAreTwo(t *testing.T) {
	r := newRig(t, rdssim.Options{})
	v := r.mustCreate(t, "a", gib)
	r.mustPublish(t, v.Slot, "n1")
	req := publish(v.Slot, "n2")
	req.Mode = rds.ModeShared
	_, err := r.Publish(soon(t), req)
	wantKind(t, err, fault.Busy) // n1 has a file system mounted
	req = publish(v.Slot, "n1")
	req.Mode = rds.ModeShared
	_, err = r.Publish(soon(t), req)
	wantKind(t, err, fault.Conflict)
}

func TestUndoTakesBackOnlyWhatThisCallMade(t *testing.T) {
	r := newRig(t, rdssim.Options{})
	slot := rds.Slot(cluster, "a")
	rescued := filepath.Join(poolDir(r), slot, "rescued.img")
	r.console(t, `/disk/btrfs/subvolume add fs="storage-pool-fs" name="`+slot+`"`)
	r.console(t, `/file add name="storage-pool/`+slot+`/rescued.img" contents="mine"`)
	if err := r.sim.Inject(rdssim.Fault{Kind: rdssim.NoSpace, Match: "file-size="}); err != nil {
		t.Fatal(err)
	}
	_, _, err := r.Create(soon(t), rds.CreateRequest{Name: "a", Size: rds.Size{Required: gib}})
	wantKind(t, err, fault.NoSpace)
	if _, err := os.Stat(rescued); err != nil {
		t.Errorf("an administrator's file is gone: %v", err)
	}
}

func TestDeleteTouchesNoBackupAndNoFileInUse(t *testing.T) {
	for _, fs := range []string{"btrfs", "xfs"} {
		t.Run(fs, func(t *testing.T) {
			r := newRig(t, rdssim.Options{Pools: []rdssim.Pool{{Name: pool, FS: fs, Size: 100 * gib}, {Name: "backup", FS: "ext4", Size: 100 * gib}}})
			v := r.mustCreate(t, "a", gib)
			r.console(t, `/file add name="backup/daily" type=directory; /file add name="backup/daily/`+v.Slot+`" type=directory; /file add name="backup/daily/`+v.Slot+`/disk.img" contents="copy"`)
			if _, err := r.Delete(soon(t), v.Slot); err != nil {
				t.Fatal(err)
			}
			out := r.sim.Run(t.Context(), `:put [:len [/file find where name="backup/daily/`+v.Slot+`/disk.img"]]`)
			if strings.TrimSpace(out) != "1" {
				t.Errorf("the backup is gone: %q", out)
			}
			w := r.mustCreate(t, "b", gib)
			r.console(t, `/disk set [find slot="`+w.Slot+`"] slot="keep-me"`)
			if _, err := r.Delete(soon(t), w.Slot); fault.KindOf(err) != fault.Precondition {
				t.Errorf("a file that another disk uses: %v", err)
			}
			if _, err := os.Stat(filepath.Join(poolDir(r), w.Slot, "disk.img")); err != nil {
				t.Errorf("the file is gone: %v", err)
			}
		})
	}
}

func TestAHeldVolumeIsHeldWhateverItsExportSays(t *testing.T) {
	r := newRig(t, rdssim.Options{})
	v := r.mustCreate(t, "a", gib)
	p := r.mustPublish(t, v.Slot, "n1")
	r.console(t, `/disk set [find slot="`+v.Slot+`"] nvme-tcp-export=no`)
	_, err := r.Delete(soon(t), v.Slot)
	wantKind(t, err, fault.Busy)
	_, err = r.Publish(soon(t), publish(v.Slot, "n2"))
	wantKind(t, err, fault.Busy)
	_, err = r.Publish(soon(t), publish(v.Slot, "n1"))
	wantKind(t, err, fault.Precondition)
	if changed, err := r.Unpublish(soon(t), v.Slot, node("n1")); err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	r.console(t, `/disk set [find slot="`+v.Slot+`"] nvme-tcp-export=yes`)
	if r.sim.MayConnect(p.NQN, node("n1").HostNQN) {
		t.Error("the old NQN came back with the export")
	}
}

func TestUnpublishOfAnotherClustersVolumeChangesNothing(t *testing.T) {
	r := newRig(t, rdssim.Options{})
	v := r.mustCreate(t, "a", gib)
	p := r.mustPublish(t, v.Slot, "n9")
	other := client(t, r.sim, rds.Config{Cluster: "c2", HostACL: true})
	for _, n := range []rds.Node{{}, node("n1")} {
		if changed, err := other.Unpublish(soon(t), v.Slot, n); err != nil || changed {
			t.Errorf("%q: changed %v, %v", n.ID, changed, err)
		}
	}
	if !r.sim.MayConnect(p.NQN, node("n9").HostNQN) {
		t.Error("the other cluster cut a live export")
	}
}

func TestSwitchingTheACLOnAndOff(t *testing.T) {
	sim := simulate(t, rdssim.Options{})
	on := rig{Array: client(t, sim, rds.Config{HostACL: true}), sim: sim}
	off := rig{Array: client(t, sim, rds.Config{HostACL: false}), sim: sim}
	v := on.mustCreate(t, "a", gib)
	p := off.mustPublish(t, v.Slot, "n1")
	if changed, err := on.Unpublish(soon(t), v.Slot, node("n1")); err != nil || !changed || sim.MayConnect(p.NQN, node("n1").HostNQN) {
		t.Errorf("published while off: changed %v, %v", changed, err)
	}
	p = on.mustPublish(t, v.Slot, "n1")
	if changed, err := off.Unpublish(soon(t), v.Slot, node("n1")); err != nil || !changed || sim.MayConnect(p.NQN, node("n1").HostNQN) {
		t.Errorf("published while on: changed %v, %v", changed, err)
	}
	_, err := off.Publish(soon(t), publish(v.Slot, "n2")) // the old ACL is still there, and would refuse n2
	wantKind(t, err, fault.Precondition)
	if after, err := off.Get(soon(t), v.Slot); err != nil || after.Exported {
		t.Errorf("still exported: %+v, %v", after, err)
	}
}

func TestALeaverNeverOpensTheVolumeToAnybody(t *testing.T) {
	r := newRig(t, rdssim.Options{})
	v := r.mustCreate(t, "a", gib)
	first, err := r.Publish(soon(t), publishShared(v.Slot, "n1"))
	if err != nil {
		t.Fatal(err)
	}
	// A comment with a byte that is no UTF-8: it must neither stop a second node nor be changed.
	r.console(t, `:local rdsC [/disk get [find slot="`+v.Slot+`"] comment]; /disk set [find slot="`+v.Slot+`"] comment=([:pick $rdsC 0 [:find $rdsC " -- "]] . " B\FCro" . [:pick $rdsC [:find $rdsC " -- "] [:len $rdsC]])`)
	if _, err := r.Publish(soon(t), publishShared(v.Slot, "n2")); err != nil {
		t.Fatal(err)
	}
	r.console(t, `/disk set [find slot="`+v.Slot+`"] nvme-tcp-server-allow-host-name="`+node("n2").HostNQN+`"`)
	_, err = r.Unpublish(soon(t), v.Slot, node("n2"))
	wantKind(t, err, fault.Precondition)
	if r.sim.MayConnect(first.NQN, "anybody") {
		t.Error("the ACL was emptied")
	}
}

func TestUnpublishOfWhatIsNoVolumeIsFine(t *testing.T) {
	r := newRig(t, rdssim.Options{})
	if changed, err := r.Unpublish(soon(t), pool, node("n1")); err != nil || changed {
		t.Errorf("changed %v, %v", changed, err)
	}
	_, err := r.Publish(soon(t), publish(pool, "n1"))
	wantKind(t, err, fault.Precondition)
}

// The array may still run a command whose reply was lost: the next one must not be overtaken.
func TestAChangeOfUnknownEndIsLeftToSettle(t *testing.T) {
	sim := simulate(t, rdssim.Options{})
	r := rig{Array: client(t, sim, rds.Config{HostACL: true, Settle: 300 * time.Millisecond}), sim: sim}
	v := r.mustCreate(t, "a", gib)
	r.mustPublish(t, v.Slot, "n1")
	if err := sim.Inject(rdssim.Fault{Kind: rdssim.DropAfter, Match: "nvme-tcp-export=no comment"}); err != nil {
		t.Fatal(err)
	}
	_, err := r.Unpublish(soon(t), v.Slot, node("n1"))
	wantKind(t, err, fault.UnknownOutcome)
	before := sim.Execs()
	_, err = r.Publish(soon(t), publish(v.Slot, "n2"))
	wantKind(t, err, fault.Unavailable)
	if sim.Execs() != before {
		t.Error("a command was sent all the same")
	}
	if _, err := r.Get(soon(t), v.Slot); err != nil {
		t.Errorf("looking is always allowed: %v", err)
	}
	untilOK(t, func(ctx context.Context) error {
		_, err := r.Publish(ctx, publish(v.Slot, "n2"))
		return err
	})
}

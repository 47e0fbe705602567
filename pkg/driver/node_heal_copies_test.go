package driver

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// Two read-only raw block targets after a heal.
func TestTwoReadOnlyBlockTargets(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", block(multiWriter))
	wantCode(t, v.nodePublishReadOnly(r.a, "one"), codes.OK)
	wantCode(t, v.nodePublishReadOnly(r.a, "two"), codes.OK)
	r.a.lose(v.nqn())
	r.a.mustHeal(t, v)
	if len(r.a.table()) != 2 {
		t.Errorf("%+v", r.a.table())
	}
}

// A cover is no user of the file system: it must not keep a stopped one from being mounted anew.
func TestCoverKeepsFromRenewing(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
	r.a.lose(v.nqn())
	probe := newRig(t)
	pv := probe.attached(t, "v", mounted("ext4", singleWriter))
	wantCode(t, pv.nodePublish(probe.a, "pod"), codes.OK)
	probe.a.lose(pv.nqn())
	probe.a.effects.arm(0, 0, nil)
	probe.a.mustHeal(t, pv)
	at := slices.Index(probe.a.effects.seen(), "bind") + 1
	r.a.effects.arm(at, 0, nil)
	err := r.a.heal(t, v)
	t.Log(err)
	r.a.effects.arm(0, 0, nil)
	for _, p := range r.a.table() {
		t.Log(p.Path, p.FSType)
	}
	r.a.mounts.CountErrors(r.a.disk(v.nqn()), 1)
	c := r.a.condition(t, v)
	t.Logf("%+v", c)
	if !c.Heal {
		t.Error("the cover counts as a user")
	}
}

// A volume that is unstaged while it is stale, and staged again later.
func TestStaleSinceOutlivesUnstage(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	r.a.lose(v.nqn())
	r.a.condition(t, v)
	wantCode(t, v.unstage(r.a), codes.OK)
	if n := len(r.a.driver.node.stale.since); n != 0 {
		t.Errorf("%d remembered", n)
	}
}

// A former name that a local disk has by now, after the pod was replaced.
func TestFormerNameOfAnother(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
	stop := r.a.mounts.StartContainer(v.target(r.a, "pod"))
	r.a.pin(v.target(r.a, "pod"))
	r.a.lose(v.nqn())
	r.a.mustHeal(t, v)
	stop() // the container was restarted
	if c := r.a.condition(t, v); len(c.HeldBy) != 0 {
		t.Fatalf("%+v", c)
	}
	former := "/dev/" + r.a.records()[0].Former[0]
	wantCode(t, v.nodeUnpublish(r.a, "pod"), codes.OK) // its pod is replaced
	wantCode(t, v.nodePublish(r.a, "new-pod"), codes.OK)
	r.a.mounts.AddDisk(former, host.DevNum{Major: 259, Minor: 99}, gib) // another driver's, with an ext4
	if _, err := r.a.mounts.Tools().Run(t.Context(), "mkfs.ext4", former); err != nil {
		t.Log(err)
	}
	dir := filepath.Join(r.a.dir, "foreign")
	mkdir(t, dir)
	if err := r.a.mounts.Mount(former, dir, "ext4", nil); err != nil {
		t.Fatal(err)
	}
	if c := r.a.condition(t, v); len(c.HeldBy) != 0 {
		t.Errorf("held by %q: that is another volume's", c.HeldBy)
	}
}

// Raw block with two portals: one is back without its namespace (the export is not there yet), the other is
// still away and holds what the VM has written. Nothing mounts a raw block device, so "unused" is true.
func TestAwayPathOfRawBlockIsCut(t *testing.T) {
	r := multipathRig(t)
	v := r.create(t, "v", gib, block(singleWriter))
	wantCode(t, v.publishTo(r.a), codes.OK)
	v.published[keyNVMeAddress] = "127.0.0.1,127.0.0.2"
	wantCode(t, v.stage(r.a), codes.OK)
	wantCode(t, v.nodePublish(r.a, "vm"), codes.OK)
	names := r.a.nvme.Controllers()
	if len(names) != 2 {
		t.Fatal(names)
	}
	r.a.nvme.SetState(names[1], "connecting")
	paths, err := filepath.Glob(filepath.Join(filepath.Dir(r.a.devDir), "sys/class/nvme", names[0], "nvme*c*n*"))
	if err != nil || len(paths) != 1 {
		t.Fatal(paths, err)
	}
	if err := os.RemoveAll(paths[0]); err != nil {
		t.Fatal(err)
	}
	wantCode(t, v.unpublishFrom(r.a), codes.OK) // the array does not show the export now
	r.a.mayRevoke(v.nqn())
	t.Logf("%+v", r.a.condition(t, v))
	before := len(r.a.nvme.Writes())
	t.Log(r.a.heal(t, v))
	for _, w := range r.a.nvme.Writes()[before:] {
		t.Log(w)
		if w == names[1]+"/delete_controller=1" {
			t.Error("the path that is away was deleted with the VM's writes")
		}
	}
}

func mkdir(t *testing.T, dir string) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
}

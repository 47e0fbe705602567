package driver

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme/nvmetest"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
)

// A read-only stage of an ext4 that met errors in an earlier life, to rescue data: the count is in its superblock.
func TestReadOnlyRescue(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	wantCode(t, v.unstage(r.a), codes.OK)
	v.capability = mounted("ext4", singleWriter, "ro")
	wantCode(t, v.stage(r.a), codes.OK)
	r.a.mounts.CountErrors(r.a.disk(v.nqn()), 1) // from before: nothing happened in this mount
	if err := v.nodePublish(r.a, "pod"); err != nil {
		t.Error(err)
	}
}

// NodeUnstage of raw block has disconnected and dies before it deletes the record.
func TestBlockComesBackAfterUnstage(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", block(singleWriter))
	end, err := r.a.driver.nodeOps.begin(v.VolumeId, "unstage")
	if err != nil {
		t.Fatal(err)
	}
	rec := r.a.records()[0]
	if err := r.a.driver.node.takeDown(soon(t), rec, "unstage"); err != nil {
		t.Fatal(err)
	}
	end()
	r.a.boot()
	if all, err := r.a.driver.Staged().Look(soon(t)); err != nil || len(all) != 0 {
		t.Errorf("looked after: %+v, %v", all, err)
	}
	if err := r.a.heal(t, v); err != nil {
		t.Error(err)
	}
	if r.a.controllerOf(v.nqn()) != "" {
		t.Error("the loop has attached again what kubelet was unstaging")
	}
}

// The same for a file system whose recovery was interrupted: it is even mounted again.
func TestUnstageAmidRecovery(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	rec := r.a.records()[0]
	rec.Recovery = &stage.Recovery{Since: time.Now()}
	if err := r.a.config().Records.Save(rec); err != nil {
		t.Fatal(err)
	}
	if err := r.a.driver.node.takeDown(soon(t), rec, "unstage"); err != nil { // and the call's time is over
		t.Fatal(err)
	}
	_ = r.a.heal(t, v)
	if n := len(r.a.table()); n > 0 || r.a.controllerOf(v.nqn()) != "" {
		t.Errorf("the loop has connected it and mounted it again (%d mounts)", n)
	}
}

// Look has listed the records; an unstage comes to its end; then this volume's turn comes.
func TestUnstagedIsNoLoss(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	n := r.a.driver.node
	records := r.a.records()
	wantCode(t, v.unstage(r.a), codes.OK)
	picture, err := n.picture(soon(t), records)
	if err != nil {
		t.Fatal(err)
	}
	c := r.a.driver.Staged().lookAt(soon(t), records[0], picture, false)
	if c.Link == nvme.LinkGone {
		t.Errorf("%+v: the loop counts a lost controller", c)
	}
}

// A raw block volume of somebody else: its node stays bound after the device is gone.
func TestForeignBlockStaysBound(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", block(singleWriter))
	wantCode(t, v.nodePublish(r.a, "vm"), codes.OK)
	rec := r.a.records()[0]
	old := rec.NQN
	foreign := strings.Replace(old, v.slot(), "other-slot", 1)
	_ = foreign
	rec.VolumeID = "rds/by-hand"
	store := r.a.config().Records
	if err := store.Save(rec); err != nil {
		t.Fatal(err)
	}
	if err := store.Delete(v.VolumeId); err != nil {
		t.Fatal(err)
	}
	v.VolumeId = rec.VolumeID
	num := r.a.table()[0].NodeDev
	r.a.lose(old)
	for range 2 {
		c := r.a.condition(t, v)
		t.Logf("%+v", c)
		_ = r.a.heal(t, v)
	}
	if len(r.a.table()) > 0 {
		t.Errorf("node %s is still bound at the pod's path", num)
	}
	w := r.attached(t, "w", block(singleWriter))
	dev, err := r.a.driver.cfg.Node.NVMe.Find(soon(t), w.nqn(), r.a.id.HostNQN())
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range r.a.table() {
		if at.NodeDev == dev.Num {
			t.Errorf("%s leads to volume w now", at.Path)
		}
	}
}

func multipathRig(t *testing.T) *rig {
	r := newRig(t)
	r.a.nvme = nvmetest.NewKernel(t, nvmetest.Options{Multipath: true})
	r.a.portal, r.a.devDir = r.a.nvme.AddPortal(), r.a.nvme.Config().Dev
	r.a.nvme.Listen(nvme.Portal{Address: "127.0.0.2", Port: r.a.portal.Port})
	r.a.boot()
	return r
}

// A node that is another host now adds a path to a volume of the host it was.
func TestPathUnderAnotherIdentity(t *testing.T) {
	r := multipathRig(t)
	r.a.nvme.Silence(nvme.Portal{Address: "127.0.0.2", Port: r.a.portal.Port})
	v := r.create(t, "v", gib, mounted("ext4", singleWriter))
	wantCode(t, v.publishTo(r.a), codes.OK)
	v.published[keyNVMeAddress] = "127.0.0.1,127.0.0.2"
	wantCode(t, v.stage(r.a), codes.OK)
	id, err := NewNodeID(testDriver, testCluster, r.a.id.Name, "new mainboard")
	if err != nil {
		t.Fatal(err)
	}
	r.a.id = id
	r.a.boot()
	c := r.a.condition(t, v)
	t.Logf("%+v", c)
	before := len(r.a.nvme.Creates())
	err = r.a.heal(t, v)
	for _, x := range r.a.nvme.Creates()[before:] {
		t.Errorf("asked the kernel: %s", x)
	}
	t.Log(err)
}

// A file system that does not answer is waited for once, and not at every look.
func TestHungMountsStopTheLoop(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"a", "b", "c"} {
		v := r.attached(t, name, mounted("ext4", singleWriter))
		defer r.a.mounts.Hang("answer", v.stagingPath(r.a))()
	}
	for range 2 {
		start := time.Now()
		_, err := r.a.driver.Staged().Look(context.Background())
		took := time.Since(start)
		t.Log(took, err)
		if took > 5*time.Second {
			t.Errorf("one look at 3 hung volumes took %s", took)
		}
	}
}

// A call that has little time left begins no swap: an unmount that hangs would hold it up long after its
// own time is over.
func TestHealInACallOutlivesTheCall(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", multiWriter))
	wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
	r.a.lose(v.nqn())
	release := r.a.mounts.Hang("umount", v.target(r.a, "pod"))
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := r.a.driver.node.NodePublishVolume(ctx, v.nodePublishRequest(r.a, "other"))
		done <- err
	}()
	select {
	case err := <-done:
		release()
		if err != nil {
			t.Errorf("the path of another pod keeps this one out: %v", err)
		}
		if at, found, _ := r.a.driver.cfg.Node.Mounter.At(v.target(r.a, "pod")); !found {
			t.Errorf("the path of the running pod is bare: %+v", at)
		}
	case <-time.After(6 * time.Second):
		t.Error("5 s after its deadline the call still holds the volume")
		release()
		<-done
	}
}

// A controller of somebody else whose attribute cannot be read.
func TestForeignControllerStopsAllHealing(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	other := "nqn.2000-02.com.mikrotik:root-disk"
	r.a.nvme.Export(nvmetest.Subsystem{NQN: other, Size: mib})
	name := r.a.nvme.Autoconnect(r.a.connection(other, r.b.id.HostNQN()))
	if err := os.Remove(filepath.Join(filepath.Dir(r.a.devDir), "sys/class/nvme", name, "hostid")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.a.driver.node.connectorOf(r.a.records()[0]).Status(soon(t), v.nqn(), r.a.id.HostNQN()); err != nil {
		t.Fatal("Status of the volume alone:", err)
	}
	all, err := r.a.driver.Staged().Look(soon(t))
	if !slices.ContainsFunc(all, func(c Condition) bool { return c.VolumeID == v.VolumeId }) {
		t.Errorf("no volume is looked at: %v", err)
	}
}

// preempt acts before anything of the request was validated.
func TestPreemptOnAnInvalidRequest(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	end, err := r.a.driver.nodeOps.begin(v.VolumeId, recoveryHolder) // it checks the file system, say
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	r.a.mayRevoke(v.nqn())
	old := v.nqn()
	v.published = map[string]string{keyNQN: "rubbish"}
	wantCode(t, v.stage(r.a), codes.Aborted)
	if r.a.controllerOf(old) == "" {
		t.Error("a live attachment was revoked by a request that is INVALID_ARGUMENT")
	}
}

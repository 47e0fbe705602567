package driver

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// The kernel gives device numbers anew after a boot: a record of an earlier one claims none.
func TestStaleDevNumOfAnotherBootBlocksHealing(t *testing.T) {
	r := newRig(t)
	x := r.attached(t, "x", mounted("ext4", singleWriter)) // number n
	old := r.a.records()[0].DevNum
	r.a.reboot()
	v := r.attached(t, "v", mounted("ext4", singleWriter)) // gets number n in the new boot
	wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
	t.Logf("number of x in the old boot %s, v is mounted from %s", old, r.a.table()[0].Dev)
	_ = x
	r.a.lose(v.nqn())
	if err := r.a.heal(t, v); err != nil {
		t.Errorf("heal: %v", err)
	}
	if err := v.nodeUnpublish(r.a, "pod"); err != nil {
		t.Errorf("the pod cannot even be taken down: %v", err)
	}
	if err := v.unstage(r.a); err != nil {
		t.Errorf("unstage: %v", err)
	}
}

// A PV with mountOptions [rw], and a pod that asks for it read-only.
func TestRwOptionAndReadOnlyPublish(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter, "rw"))
	wantCode(t, v.nodePublishReadOnly(r.a, "pod"), codes.OK)
	r.a.lose(v.nqn())
	if err := r.a.heal(t, v); err != nil {
		t.Errorf("heal: %v", err)
	}
	for _, at := range r.a.table() {
		t.Log(at.Path, at.Dev)
	}
	if len(r.a.table()) != 2 {
		t.Errorf("the pod's path is an empty directory of the host")
	}
}

// A NodePublish that heals is cancelled between umount and bind of a path: both are done, or neither.
func TestACancelledSwapIsFinished(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", multiWriter))
	wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
	r.a.lose(v.nqn())
	ctx, cancel := context.WithCancel(soon(t))
	unmounts := 0
	r.a.effects.arm(0, 0, func(_ int, name string) {
		if name == "umount" {
			if unmounts++; unmounts == 2 { // the target's
				cancel()
			}
		}
	})
	_, err := r.a.driver.node.NodePublishVolume(ctx, v.nodePublishRequest(r.a, "other"))
	r.a.effects.arm(0, 0, nil)
	if unmounts < 2 {
		t.Fatalf("%d unmounts: the call was not cancelled inside the swap (%v)", unmounts, err)
	}
	if !slices.ContainsFunc(r.a.table(), func(p host.MountPoint) bool { return p.Path == v.target(r.a, "pod") }) {
		t.Error("the running pod's target is an empty directory of the host")
	}
}

// One path that cannot come back keeps no other from being healed.
func TestOneLostTargetBlocksTheVolume(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", multiWriter))
	gone := filepath.Join(r.a.dir, "poddir", "mount")
	if err := os.MkdirAll(filepath.Dir(gone), 0o750); err != nil {
		t.Fatal(err)
	}
	req := v.nodePublishRequest(r.a, "a")
	req.TargetPath = gone
	_, err := r.a.NodePublishVolume(soon(t), req)
	wantCode(t, err, codes.OK)
	wantCode(t, v.nodePublish(r.a, "b"), codes.OK)
	r.a.lose(v.nqn())
	// the recovery is interrupted after the first target was taken down
	unmounts, freeze := 0, false
	_ = freeze
	r.a.effects.arm(0, 0, func(n int, name string) {
		if name == "umount" {
			unmounts++
		}
		if unmounts == 2 && name == "bind" {
			r.a.effects.mu.Lock()
			r.a.effects.freezeAt = 1
			r.a.effects.mu.Unlock()
		}
	})
	_ = r.a.heal(t, v)
	r.a.effects.arm(0, 0, nil)
	r.a.boot()
	for _, at := range r.a.table() {
		t.Log("interrupted:", at.Path, at.Dev)
	}
	if err := r.a.mounts.Unmount(gone); err != nil {
		t.Log("not mounted:", err)
	}
	r.a.mirror()
	if err := os.RemoveAll(filepath.Dir(gone)); err != nil { // kubelet forgot that pod
		t.Fatal(err)
	}
	for range 3 {
		if err := r.a.heal(t, v); err != nil {
			t.Log("heal:", err)
		}
	}
	for _, at := range r.a.table() {
		t.Log("now:", at.Path, at.Dev)
	}
	if err := v.nodePublish(r.a, "c"); err != nil {
		t.Errorf("a new pod: %v", err)
	}
}

// A file system that is staged read-only is not checked, so mounting it anew would mend nothing.
func TestReadOnlyExt4WithErrorsIsRenewedForEver(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	wantCode(t, v.unstage(r.a), codes.OK)
	v.capability = mounted("ext4", singleWriter, "ro")
	wantCode(t, v.stage(r.a), codes.OK)
	r.a.mounts.CountErrors(r.a.disk(v.nqn()), 1)
	for i := range 3 {
		r.a.effects.arm(0, 0, nil)
		err := r.a.heal(t, v)
		c := r.a.condition(t, v)
		t.Logf("heal %d: %v, %q, then %s %s heal %t", i, err, r.a.effects.seen(), c.State, c.Reason, c.Heal)
		if i == 2 && c.Heal {
			t.Error("it is unmounted and mounted again for ever")
		}
	}
}

// The kernel refuses a btrfs while the dead one with its UUID is alive in a container: until then what
// starts in the pod must not write to the directory below.
func TestABtrfsIsCoveredWhileAContainerHasItsDeadCopy(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("btrfs", singleWriter))
	wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
	stop := r.a.mounts.StartContainer(v.target(r.a, "pod"))
	r.a.pin(v.target(r.a, "pod"))
	r.a.lose(v.nqn())
	if err := r.a.heal(t, v); err == nil {
		t.Fatal("a btrfs is mounted beside its dead twin")
	}
	at := r.a.table()
	if len(at) != 1 || at[0].Path != v.target(r.a, "pod") || !mount.IsCover(at[0]) || !at[0].ReadOnly() {
		t.Errorf("mounts %+v, want a read-only cover of the pod's path", at)
	}
	stop()
	r.a.mustHeal(t, v)
	if n := len(r.a.table()); n != 2 {
		t.Errorf("mounts %+v", r.a.table())
	}
	wantCode(t, v.nodeUnpublish(r.a, "pod"), codes.OK)
	wantCode(t, v.unstage(r.a), codes.OK)
	r.a.mustBeClean(t)
}

// A pod that goes meanwhile takes the cover with it.
func TestACoverIsUnpublished(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("btrfs", singleWriter))
	wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
	r.a.mounts.StartContainer(v.target(r.a, "pod"))
	r.a.lose(v.nqn())
	if err := r.a.heal(t, v); err == nil {
		t.Fatal("a btrfs is mounted beside its dead twin")
	}
	wantCode(t, v.nodeUnpublish(r.a, "pod"), codes.OK)
	wantCode(t, v.unstage(r.a), codes.OK)
	r.a.mustBeClean(t)
}

// What a volume is while it is unstaged is no outage, and no loss.
func TestUnstageLooksLikeAnOutage(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", block(singleWriter))
	name := r.a.controllerOf(v.nqn())
	end, err := r.a.driver.nodeOps.begin(v.VolumeId, string(telemetry.OpUnstage))
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	r.a.nvme.SetState(name, "deleting (no IO)") // the unstage has written delete_controller
	if c := r.a.condition(t, v); c.Link == nvme.LinkAway {
		t.Errorf("while the unstage deletes the controller: %+v", c)
	}
	r.a.lose(v.nqn()) // deleted, the record is about to go
	if c := r.a.condition(t, v); c.Reason != "" {
		t.Errorf("when it is deleted: %+v", c)
	}
}

// One file that cannot be read keeps no other volume from being looked at and healed.
func TestOneBadFileStopsAllHealing(t *testing.T) {
	for _, name := range []string{"0123456789abcdef0123456789abcdef.json"} {
		r := newRig(t)
		v := r.attached(t, "v", mounted("ext4", singleWriter))
		if err := os.WriteFile(filepath.Join(r.a.recordDir(), name), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		all, err := r.a.driver.Staged().Look(soon(t))
		if pick(t, all, v); err == nil {
			t.Errorf("%s: no error", name)
		}
		r.a.lose(v.nqn())
		if err := r.a.heal(t, v); err != nil {
			t.Errorf("heal: %v", err)
		}
		t.Log(v.unstage(r.a))
	}
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	w := r.attached(t, "w", mounted("ext4", singleWriter))
	if err := r.a.config().Records.AskRelease(stage.Release{VolumeID: v.VolumeId, NQN: v.nqn()}); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(r.a.recordDir(), "*.release"))
	if err := os.WriteFile(files[0], nil, 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := r.a.driver.Staged().Look(soon(t))
	if pick(t, all, w); err == nil {
		t.Error("nothing says that a request cannot be read")
	}
}

// A recovery that hangs in the kernel makes way for the proof that its attachment was revoked: that takes
// away what it hangs on.
func TestAHungRecoveryMakesWayForTheFence(t *testing.T) {
	for name, prove := range map[string]func(r *rig, v *volume){
		"another NQN": func(r *rig, v *volume) {
			wantCode(t, v.publishTo(r.a), codes.OK)
			wantCode(t, v.stage(r.a), codes.Aborted, "recovery")
		},
		"an operator": func(r *rig, v *volume) {
			err := r.a.config().Records.AskRelease(stage.Release{VolumeID: v.VolumeId, NQN: v.nqn(), AskedAt: time.Now()})
			if err != nil {
				t.Fatal(err)
			}
			if c := r.a.condition(t, v); !c.Busy || !c.Release {
				t.Errorf("condition %+v", c)
			}
			if err := r.a.driver.Staged().Unblock(soon(t), v.VolumeId); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			v := r.attached(t, "v", mounted("ext4", singleWriter))
			old := v.nqn()
			r.a.mounts.TurnReadOnly(v.stagingPath(r.a)) // the loop will mount it anew
			release := r.a.mounts.Hang("umount", v.stagingPath(r.a))
			done := make(chan error, 1)
			go func() { done <- r.a.driver.Staged().Heal(soon(t), v.VolumeId) }()
			waitFor(t, "umount", func() bool { return slices.Contains(r.a.effects.seen(), "umount") })
			r.a.nvme.SetState(r.a.controllerOf(old), "connecting") // cut off, and fenced
			wantCode(t, v.unpublishFrom(r.a), codes.OK)
			r.a.mayRevoke(old)
			prove(r, v)
			if c := r.a.controllerOf(old); c != "" {
				t.Errorf("%s is still there", c)
			}
			release() // as the kernel does when the device is gone
			<-done
			wantCode(t, v.publishTo(r.a), codes.OK)
			wantCode(t, v.stage(r.a), codes.OK)
			wantCode(t, v.unstage(r.a), codes.OK)
			r.a.mustBeClean(t)
		})
	}
}

// A command that was killed has left its request.
func TestARequestNobodyWaitsForReleasesLater(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	r.a.nvme.SetState(r.a.controllerOf(v.nqn()), "connecting")
	if err := r.a.config().Records.AskRelease(stage.Release{VolumeID: v.VolumeId, NQN: v.nqn(), AskedAt: time.Now().Add(-24 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
	r.a.mayRevoke(v.nqn())
	_ = r.a.heal(t, v)
	if r.a.controllerOf(v.nqn()) == "" {
		t.Error("a request of yesterday, whose command is long gone, dropped unsynced data")
	}
}

// kubelet repeats a NodePublish that cannot heal; the mount was found stale once.
func TestEachRetryCountsAsANewStaleMount(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", multiWriter))
	wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
	r.a.lose(v.nqn())
	r.a.nvme.Silence(r.a.portal)
	metrics := r.a.driver.cfg.Metrics
	cfg := r.a.config()
	cfg.Mounter = mount.New(mount.Config{
		Kernel: mountsSeam{r.a}, Tools: toolsSeam{r.a}, Devices: devicesSeam{r.a}, Filesystems: filesystemsSeam{r.a},
		SysResource: r.a.mounts.SysResource, Metrics: metrics, Log: zap.NewNop(),
	})
	n := newNode(r.a.driver, *cfg)
	for range 3 {
		_, _ = n.NodePublishVolume(soon(t), v.nodePublishRequest(r.a, "other"))
	}
	if got := r.a.sum(t, "rds_csi.stale.mounts.detected"); got != 1 {
		t.Errorf("one stale mount, three retries of kubelet: counted %d times", got)
	}
}

// Nor does it claim a device's name.
func TestARecordOfAnotherBootHidesADeadCopy(t *testing.T) {
	r := newRig(t)
	r.attached(t, "x", mounted("ext4", singleWriter)) // nvme0n1 of the first boot; never wanted again
	r.a.reboot()
	for _, rec := range r.a.records() { // its number does not collide, so that healing works
		rec.DevNum = "259:77"
		if err := r.a.config().Records.Save(rec); err != nil {
			t.Fatal(err)
		}
	}
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
	r.a.mounts.StartContainer(v.target(r.a, "pod"))
	r.a.pin(v.target(r.a, "pod"))
	r.a.lose(v.nqn())
	if err := r.a.heal(t, v); err != nil {
		t.Fatal(err)
	}
	if c := r.a.condition(t, v); len(c.HeldBy) == 0 {
		t.Errorf("a container still has the dead copy, and nothing says so: %+v", c)
	}
}

// Without native multipath a second portal shows a volume as a second disk. A NodeStage that is repeated
// while the first is away must not check, and so write to, what is mounted from that.
func TestRepeatedStageChecksAMountedFileSystemThroughTheOtherPortal(t *testing.T) {
	r := newRig(t)
	second := nvme.Portal{Address: "127.0.0.2", Port: r.a.portal.Port}
	r.a.nvme.Listen(second)
	v := r.create(t, "v", gib, mounted("ext4", singleWriter))
	wantCode(t, v.publishTo(r.a), codes.OK)
	v.published[keyNVMeAddress] = "127.0.0.1,127.0.0.2"
	wantCode(t, v.stage(r.a), codes.OK)
	wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
	checks := r.a.ran("fsck.ext4")
	r.a.nvme.SetState(r.a.controllerOf(v.nqn()), "connecting") // dirty pages wait for it

	cfg := r.a.nvme.Config()
	cfg.HostNQN, cfg.ConnectTimeout = r.a.id.HostNQN(), 200*time.Millisecond // 60 s, and kubelet waits 120
	cfg.Fabrics, cfg.Attributes, cfg.Devices, cfg.Mounts = fabricsSeam{r.a}, attributesSeam{r.a}, nvmeDevicesSeam{r.a}, mountsSeam{r.a}
	h, err := nvme.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	nc := r.a.config()
	nc.NVMe = h
	n := newNode(r.a.driver, *nc)
	_, err = n.NodeStageVolume(soon(t), v.stageRequest(r.a)) // kubelet has restarted
	t.Log("stage:", err)
	if now := r.a.ran("fsck.ext4"); now != checks {
		t.Errorf("fsck ran %d times on a file system that is mounted, through another disk", now-checks)
	}
	for _, at := range r.a.table() {
		t.Log(at.Path, at.Dev)
	}
	r.a.nvme.SetState(r.a.nvme.Controllers()[0], "live")
	if err := v.nodeUnpublish(r.a, "pod"); err != nil {
		t.Error("unpublish:", err)
	}
	if err := v.unstage(r.a); err != nil {
		t.Error("unstage:", err)
	}
}

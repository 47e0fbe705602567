package driver

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
)

// What a review found: records that outlive what they speak of, and paths that are another's.

func (m *machine) change(t *testing.T, edit func(*stage.Record)) {
	t.Helper()
	store, err := stage.Open(m.recordDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range m.records() {
		edit(r)
		if err := store.Save(r); err != nil {
			t.Fatal(err)
		}
	}
}

// mkfs is interrupted on node a, the volume is taken from it and given back under a new NQN, and in
// between somebody wrote to it. The old record must not wipe that.
func TestARecordOfARevokedNQNNeverWipes(t *testing.T) {
	r := newRig(t)
	v := r.create(t, "a", gib, mounted("ext4", singleWriter))
	wantCode(t, v.publishTo(r.a), codes.OK)
	r.a.mounts.InterruptMkfs()
	if err := v.stage(r.a); err == nil {
		t.Fatal("an interrupted mkfs was told OK")
	}
	if err := v.unpublishFrom(r.a); err != nil {
		t.Fatal(err)
	}
	if err := v.publishTo(r.a); err != nil {
		t.Fatal(err)
	}
	v.write(4096, "written by another node")
	err := v.stage(r.a)
	if err == nil {
		t.Error("staged over what another node wrote")
	}
	if got := v.read(4096, 7); got != "written" {
		t.Errorf("the data is gone: %q", got)
	}
}

func TestAnInterruptedMkfsIsNeverStagedAsAnythingElse(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "a", block(singleWriter))
	r.a.change(t, func(rec *stage.Record) { rec.Format = stage.Formatting })
	wantCode(t, v.stage(r.a), codes.Unavailable, "interrupted")
	v.write(0, "raw data")
	if err := v.unstage(r.a); err != nil { // it was staged once, so there is nothing to wipe
		t.Fatal(err)
	}
	if got := v.read(0, 8); got != "raw data" {
		t.Errorf("the data is gone: %q", got)
	}
}

// An array that comes back with an empty file must not give a pod an empty file system.
func TestWhatHadAFileSystemAndReadsAsZerosIsNotFormatted(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "a", mounted("ext4", singleWriter))
	if err := r.a.mounts.Unmount(v.stagingPath(r.a)); err != nil { // a reboot, but for the record
		t.Fatal(err)
	}
	size := int64(0)
	if info, err := os.Stat(v.backing()); err == nil {
		size = info.Size()
	}
	if err := os.Truncate(v.backing(), 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(v.backing(), size); err != nil {
		t.Fatal(err)
	}
	wantCode(t, v.stage(r.a), codes.Unavailable, "reads as zeros")
}

func TestAnotherVolumesMountsAreNotTakenDown(t *testing.T) {
	r := newRig(t)
	mine, other := r.attached(t, "a", mounted("ext4", singleWriter)), r.attached(t, "b", mounted("ext4", singleWriter))
	for _, v := range []*volume{mine, other} {
		wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
	}
	before := len(r.a.table())
	_, err := r.a.NodeUnpublishVolume(soon(t), &csi.NodeUnpublishVolumeRequest{VolumeId: mine.VolumeId, TargetPath: other.target(r.a, "pod")})
	wantCode(t, err, codes.FailedPrecondition)
	_, err = r.a.NodeUnstageVolume(soon(t), &csi.NodeUnstageVolumeRequest{VolumeId: "rds/csi-0000000000000000000000000000", StagingTargetPath: other.stagingPath(r.a)})
	wantCode(t, err, codes.FailedPrecondition)
	if after := len(r.a.table()); after != before {
		t.Errorf("%d mounts, were %d", after, before)
	}
}

func TestAPublishErrorIsNotFinalWhileTheTargetIsMounted(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "a", mounted("ext4", singleWriter))
	if err := v.nodePublish(r.a, "pod"); err != nil {
		t.Fatal(err)
	}
	if err := r.a.mounts.Unmount(v.stagingPath(r.a)); err != nil {
		t.Fatal(err)
	}
	wantCode(t, v.nodePublish(r.a, "pod"), codes.Unavailable, "nothing is mounted at the staging path")
}

func TestAKubeletDirectoryMayBeASymlink(t *testing.T) {
	r := newRig(t)
	v := r.create(t, "a", gib, mounted("ext4", singleWriter))
	wantCode(t, v.publishTo(r.a), codes.OK)
	link := filepath.Join(t.TempDir(), "kubelet")
	if err := os.Symlink(r.a.dir, link); err != nil {
		t.Fatal(err)
	}
	staging := strings.Replace(v.stagingPath(r.a), r.a.dir, link, 1)
	if err := os.MkdirAll(staging, 0o750); err != nil {
		t.Fatal(err)
	}
	request := v.stageRequest(r.a)
	request.StagingTargetPath = staging
	_, err := r.a.NodeStageVolume(soon(t), request)
	wantCode(t, err, codes.OK)
	_, err = r.a.NodeUnstageVolume(soon(t), &csi.NodeUnstageVolumeRequest{VolumeId: v.VolumeId, StagingTargetPath: staging})
	wantCode(t, err, codes.OK)
	r.a.mustBeClean(t)
}

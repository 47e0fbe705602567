package driver

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
)

// backing is the file behind a published volume.
func (v *volume) backing() string {
	v.t.Helper()
	for _, x := range v.rig.array.exports(v.t) {
		if x.NQN == v.nqn() {
			return x.Path
		}
	}
	v.t.Fatalf("the array does not export %s", v.nqn())
	return ""
}

func (v *volume) write(at int64, data string) {
	v.t.Helper()
	file, err := os.OpenFile(v.backing(), os.O_WRONLY, 0)
	if err != nil {
		v.t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt([]byte(data), at); err != nil {
		v.t.Fatal(err)
	}
}

func (v *volume) read(at int64, n int) string {
	v.t.Helper()
	file, err := os.Open(v.backing())
	if err != nil {
		v.t.Fatal(err)
	}
	defer file.Close()
	data := make([]byte, n)
	if _, err := file.ReadAt(data, at); err != nil {
		v.t.Fatal(err)
	}
	return string(data)
}

// The mount kernel fails the test itself if mkfs ever meets data.
func TestDataIsNeverFormatted(t *testing.T) {
	r := newRig(t)
	for name, at := range map[string]int64{
		"first byte": 0, "in the first 2 MiB": mib + 17, "an ext4 backup superblock": 128*mib + 1024,
		"a btrfs mirror": 64*mib + 64, "the last block": gib - 4096,
	} {
		t.Run(name, func(t *testing.T) {
			v := r.create(t, name, gib, mounted("ext4", singleWriter))
			wantCode(t, v.publishTo(r.a), codes.OK)
			v.write(at, "precious")
			wantCode(t, v.stage(r.a), codes.FailedPrecondition, "not formatted")
			if got := v.read(at, 8); got != "precious" {
				t.Errorf("the data is now %q", got)
			}
			r.a.mustBeClean(t) // the code is final
		})
	}
	if n := r.a.ran("mkfs"); n != 0 {
		t.Errorf("mkfs ran %d times", n)
	}
}

func TestOnlyWhatWasCreatedBlankIsFormatted(t *testing.T) {
	r := newRig(t)
	v := r.create(t, "static", gib, mounted("ext4", singleWriter))
	v.VolumeContext = nil // a PersistentVolume written by hand
	wantCode(t, v.publishTo(r.a), codes.OK)
	wantCode(t, v.stage(r.a), codes.FailedPrecondition, "mkfs.ext4")
	r.a.mustBeClean(t)
	v.VolumeContext = map[string]string{keyBlank: yes}
	v.capability = mounted("ext4", singleWriter, "ro")
	wantCode(t, v.stage(r.a), codes.FailedPrecondition, "read-only")
	r.a.mustBeClean(t)
	v.capability = mounted("ext4", singleWriter)
	wantCode(t, v.stage(r.a), codes.OK)
	wantCode(t, v.unstage(r.a), codes.OK)
	v.VolumeContext = nil // now there is a file system
	wantCode(t, v.stage(r.a), codes.OK)
	wantCode(t, v.unstage(r.a), codes.OK)
	v.VolumeContext = map[string]string{keyBlank: yes}
	v.capability = mounted("xfs", singleWriter)
	wantCode(t, v.stage(r.a), codes.FailedPrecondition, "ext4", "xfs")
	r.a.mustBeClean(t)
	if n := r.a.ran("mkfs"); n != 1 {
		t.Errorf("mkfs ran %d times, want once", n)
	}
}

func TestUnreadableDeviceIsNotBlank(t *testing.T) {
	for name, tt := range map[string]struct {
		state string
		code  codes.Code
	}{"live": {"live", codes.FailedPrecondition}, "away by now": {"connecting", codes.Unavailable}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			v := r.create(t, "v", gib, mounted("ext4", singleWriter))
			wantCode(t, v.publishTo(r.a), codes.OK)
			r.a.effects.arm(0, 0, func(_ int, name string) {
				if name == "open" { // connected, and the first look at the device comes
					r.a.mounts.FailReads(r.a.disk(v.nqn()), 0)
				}
				if name == "blkid" {
					r.a.nvme.SetState(r.a.controllerOf(v.nqn()), tt.state)
				}
			})
			wantCode(t, v.stage(r.a), tt.code)
			r.a.effects.arm(0, 0, nil)
			if n := r.a.ran("mkfs"); n != 0 {
				t.Errorf("mkfs ran on a device that cannot be read")
			}
			wantCode(t, v.unstage(r.a), codes.OK)
			r.a.mustBeClean(t)
		})
	}
}

func TestDeviceSmallerThanPromisedIsRefusedAndLetGo(t *testing.T) {
	r := newRig(t)
	r.a.deviceTimeout = 50 * time.Millisecond
	r.a.boot()
	v := r.create(t, "v", gib, mounted("ext4", singleWriter))
	wantCode(t, v.publishTo(r.a), codes.OK)
	size := v.published[keySize]
	v.published[keySize] = strconv.Itoa(gib + 4096)
	wantCode(t, v.stage(r.a), codes.FailedPrecondition, "promised", "cut short or replaced")
	r.a.mustBeClean(t)
	if calls := r.a.mounts.Calls(); len(calls) != 0 {
		t.Errorf("tools were run: %q", calls)
	}
	v.published[keySize] = size
	wantCode(t, v.stage(r.a), codes.OK)
	v.published[keySize] = strconv.Itoa(gib + 4096)
	wantCode(t, v.stage(r.a), codes.Unavailable, "promised") // an earlier call's work is still there
	wantCode(t, v.unstage(r.a), codes.OK)
	r.a.mustBeClean(t)
}

// interrupted is a volume whose first mkfs on node a was killed half-way.
func interrupted(t *testing.T, r *rig, fs string) *volume {
	t.Helper()
	v := r.create(t, "interrupted "+fs, gib, mounted(fs, singleWriter))
	wantCode(t, v.publishTo(r.a), codes.OK)
	r.a.mounts.InterruptMkfs()
	err := v.stage(r.a)
	wantCode(t, err, codes.Canceled, "mkfs."+fs) // as if the call was cancelled: not final
	if records := r.a.records(); len(records) != 1 || records[0].Format != stage.Formatting || records[0].NQN != v.nqn() {
		t.Fatalf("records %+v", records)
	}
	return v
}

func TestInterruptedMkfsIsFinishedByTheSameNode(t *testing.T) {
	for _, fs := range []string{"ext4", "xfs", "btrfs"} {
		for name, restart := range map[string]bool{"same process": false, "restarted": true} {
			t.Run(fs+", "+name, func(t *testing.T) {
				r := newRig(t)
				v := interrupted(t, r, fs)
				if restart {
					r.a.boot()
				}
				wantCode(t, v.stage(r.a), codes.OK)
				if records := r.a.records(); len(records) != 1 || records[0].Format != stage.Formatted {
					t.Errorf("records %+v", records)
				}
				wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
			})
		}
	}
}

func TestInterruptedMkfsIsRefusedByAnotherNode(t *testing.T) {
	r := newRig(t)
	v := interrupted(t, r, "ext4")
	wantCode(t, v.unpublishFrom(r.a), codes.OK) // node a is gone for good
	wantCode(t, v.publishTo(r.b), codes.OK)
	wantCode(t, v.stage(r.b), codes.FailedPrecondition, "interrupted mkfs", "blkdiscard")
	r.b.mustBeClean(t)
	if n := r.b.ran("mkfs"); n != 0 {
		t.Error("node b ran mkfs")
	}
	// Nor does a's own record count any more: it is for an NQN that is no more.
	wantCode(t, v.unpublishFrom(r.b), codes.OK)
	r.a.lose(r.a.records()[0].NQN)
	wantCode(t, v.publishTo(r.a), codes.OK)
	wantCode(t, v.stage(r.a), codes.FailedPrecondition, "not formatted")
	r.a.mustBeClean(t)
}

func TestUnstageWipesAnInterruptedMkfs(t *testing.T) {
	r := newRig(t)
	v := interrupted(t, r, "ext4")
	wantCode(t, v.unstage(r.a), codes.OK)
	r.a.mustBeClean(t)
	wantCode(t, v.unpublishFrom(r.a), codes.OK)
	wantCode(t, v.publishTo(r.b), codes.OK)
	wantCode(t, v.stage(r.b), codes.OK) // blank again, so it may be formatted
	wantCode(t, v.nodePublish(r.b, "pod"), codes.OK)
}

func TestUnstageWaitsForMkfsToBeGone(t *testing.T) {
	r := newRig(t)
	v := interrupted(t, r, "ext4")
	claim, err := r.a.mounts.Devices().Open(r.a.disk(v.nqn()), true, true) // mkfs still has it
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, v.unstage(r.a), codes.FailedPrecondition)
	if r.a.controllerOf(v.nqn()) == "" || len(r.a.records()) != 1 {
		t.Error("something was taken down under mkfs")
	}
	if err := claim.Close(); err != nil {
		t.Fatal(err)
	}
	wantCode(t, v.unstage(r.a), codes.OK)
	r.a.mustBeClean(t)
}

func TestMissingMkfsIsNotFinalAndNothingStays(t *testing.T) {
	r := newRig(t)
	v := r.create(t, "v", gib, mounted("xfs", singleWriter))
	wantCode(t, v.publishTo(r.a), codes.OK)
	r.a.mounts.BreakTool("mkfs.xfs", os.ErrNotExist)
	wantCode(t, v.stage(r.a), codes.Unavailable, "mkfs.xfs")
	wantCode(t, v.unstage(r.a), codes.OK)
	r.a.mustBeClean(t)
	r.a.mounts.BreakTool("mkfs.xfs", nil)
	wantCode(t, v.stage(r.a), codes.OK)
}

func TestRawBlockIsNeverLookedAt(t *testing.T) {
	r := newRig(t)
	v := r.create(t, "raw", gib, block(singleWriter))
	wantCode(t, v.publishTo(r.a), codes.OK)
	v.write(0, "a partition table, or what you like")
	wantCode(t, v.stage(r.a), codes.OK)
	wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
	if calls := r.a.mounts.Calls(); len(calls) != 0 {
		t.Errorf("tools were run on raw block: %q", calls)
	}
	if info, err := os.Stat(v.target(r.a, "pod")); err != nil || !info.Mode().IsRegular() {
		t.Errorf("the target is %v, %v", info, err)
	}
	wantCode(t, v.nodeUnpublish(r.a, "pod"), codes.OK)
	wantCode(t, v.unstage(r.a), codes.OK)
	if _, err := os.Stat(v.target(r.a, "pod")); !os.IsNotExist(err) {
		t.Errorf("the target is still there: %v", err)
	}
	r.a.mustBeClean(t)
	_, err := r.a.NodeStageVolume(soon(t), &csi.NodeStageVolumeRequest{
		VolumeId: v.VolumeId, PublishContext: v.published, VolumeCapability: v.capability, StagingTargetPath: filepath.Join("not", "absolute"),
	})
	wantCode(t, err, codes.InvalidArgument, "staging_target_path")
}

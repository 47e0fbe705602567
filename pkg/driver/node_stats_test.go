package driver

import (
	"context"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

func (v *volume) stats(ctx context.Context, m *machine, path string) (*csi.NodeGetVolumeStatsResponse, error) {
	return m.NodeGetVolumeStats(ctx, &csi.NodeGetVolumeStatsRequest{VolumeId: v.VolumeId, VolumePath: path})
}

func TestStatsOfAFileSystem(t *testing.T) {
	r := newRig(t)
	for _, fs := range []string{"ext4", "xfs", "btrfs"} {
		v := r.attached(t, fs, mounted(fs, singleWriter))
		wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
		for _, path := range []string{v.target(r.a, "pod"), v.stagingPath(r.a)} {
			resp, err := v.stats(soon(t), r.a, path)
			wantCode(t, err, codes.OK)
			if len(resp.GetUsage()) != 2 {
				t.Fatalf("%s: usage %v", fs, resp.GetUsage())
			}
			bytes, inodes := resp.GetUsage()[0], resp.GetUsage()[1]
			if bytes.GetUnit() != csi.VolumeUsage_BYTES || bytes.GetTotal() != gib || bytes.GetUsed()+bytes.GetAvailable() != gib || bytes.GetUsed() == 0 {
				t.Errorf("%s: bytes %v", fs, bytes)
			}
			if inodes.GetUnit() != csi.VolumeUsage_INODES || (inodes.GetTotal() == 0) != (fs == "btrfs") {
				t.Errorf("%s: inodes %v", fs, inodes)
			}
		}
	}
}

func TestStatsOfRawBlock(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "raw", block(singleWriter))
	wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
	resp, err := v.stats(soon(t), r.a, v.target(r.a, "pod"))
	wantCode(t, err, codes.OK)
	if u := resp.GetUsage(); len(u) != 1 || u[0].GetTotal() != gib || u[0].GetUnit() != csi.VolumeUsage_BYTES {
		t.Errorf("usage %v", u)
	}
}

func TestStatsThatCannotBe(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	for path, code := range map[string]codes.Code{"": codes.InvalidArgument, "/nowhere": codes.NotFound, v.target(r.a, "pod"): codes.NotFound} {
		_, err := v.stats(soon(t), r.a, path)
		wantCode(t, err, code)
	}
	_, err := r.a.NodeGetVolumeStats(soon(t), &csi.NodeGetVolumeStatsRequest{VolumeId: "rds/other", VolumePath: v.stagingPath(r.a)})
	wantCode(t, err, codes.NotFound)
	r.a.nvme.SetState(r.a.controllerOf(v.nqn()), "connecting")
	release := r.a.mounts.Hang("statfs", v.stagingPath(r.a)) // which nobody must run into
	defer release()
	_, err = v.stats(soon(t), r.a, v.stagingPath(r.a))
	wantCode(t, err, codes.Unavailable)
}

// A statfs that hangs costs each call its own deadline, and the machine one thread in all.
func TestHungStatfsEndsWithTheDeadline(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	release := r.a.mounts.Hang("statfs", v.stagingPath(r.a))
	direct := newNode(r.a.driver, *r.a.driver.cfg.Node)
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		start := time.Now()
		_, err := direct.NodeGetVolumeStats(ctx, &csi.NodeGetVolumeStatsRequest{VolumeId: v.VolumeId, VolumePath: v.stagingPath(r.a)})
		cancel()
		wantCode(t, statusOf(err), codes.DeadlineExceeded, "not connected")
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
	}
	release()
	_, err := v.stats(soon(t), r.a, v.stagingPath(r.a))
	wantCode(t, err, codes.OK)
}

// grow makes a volume larger on the array.
func (v *volume) grow(size int64) {
	v.t.Helper()
	resp, err := v.rig.controller.ControllerExpandVolume(soon(v.t), &csi.ControllerExpandVolumeRequest{
		VolumeId: v.VolumeId, CapacityRange: &csi.CapacityRange{RequiredBytes: size}, VolumeCapability: v.capability,
	})
	wantCode(v.t, err, codes.OK)
	if resp.GetCapacityBytes() != size {
		v.t.Fatalf("grown to %d, want %d", resp.GetCapacityBytes(), size)
	}
}

func (v *volume) nodeExpand(m *machine, path string, size int64) (int64, error) {
	resp, err := m.NodeExpandVolume(soon(v.t), &csi.NodeExpandVolumeRequest{
		VolumeId: v.VolumeId, VolumePath: path, StagingTargetPath: v.stagingPath(m), CapacityRange: &csi.CapacityRange{RequiredBytes: size},
	})
	return resp.GetCapacityBytes(), err
}

func (v *volume) wantTotal(t *testing.T, m *machine, path string, want int64) {
	t.Helper()
	resp, err := v.stats(soon(t), m, path)
	wantCode(t, err, codes.OK)
	if got := resp.GetUsage()[0].GetTotal(); got != want {
		t.Errorf("%d bytes, want %d", got, want)
	}
}

func TestExpandWhileInUse(t *testing.T) {
	r := newRig(t)
	for name, capability := range map[string]*csi.VolumeCapability{
		"ext4": mounted("ext4", singleWriter), "xfs": mounted("xfs", singleWriter), "btrfs": mounted("btrfs", singleWriter), "block": block(singleWriter),
	} {
		t.Run(name, func(t *testing.T) {
			v := r.attached(t, name, capability)
			wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
			path := v.target(r.a, "pod")
			noops := r.a.operations(t, telemetry.OpNodeExpand, telemetry.StatusNoop)
			v.grow(2 * gib)
			for i := range 2 {
				got, err := v.nodeExpand(r.a, path, 2*gib)
				wantCode(t, err, codes.OK)
				if got != 2*gib {
					t.Errorf("it answers %d", got)
				}
				v.wantTotal(t, r.a, path, 2*gib)
				if n := r.a.operations(t, telemetry.OpNodeExpand, telemetry.StatusNoop); n != noops+int64(i) {
					t.Errorf("call %d: %d noops, had %d", i, n, noops)
				}
			}
			wantCode(t, v.nodeUnpublish(r.a, "pod"), codes.OK)
			wantCode(t, v.unstage(r.a), codes.OK)
			r.a.mustBeClean(t)
		})
	}
}

func TestExpandOfAReadOnlyTargetGrowsTheStagedFileSystem(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	wantCode(t, v.nodePublishReadOnly(r.a, "pod"), codes.OK)
	v.grow(2 * gib)
	_, err := v.nodeExpand(r.a, v.target(r.a, "pod"), 2*gib)
	wantCode(t, err, codes.OK)
	v.wantTotal(t, r.a, v.target(r.a, "pod"), 2*gib)
}

func TestExpandAtStage(t *testing.T) {
	for _, fs := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(fs, func(t *testing.T) {
			r := newRig(t)
			v := r.attached(t, "v", mounted(fs, singleWriter))
			wantCode(t, v.unstage(r.a), codes.OK)
			wantCode(t, v.unpublishFrom(r.a), codes.OK)
			v.grow(3 * gib)
			wantCode(t, v.publishTo(r.a), codes.OK)
			wantCode(t, v.stage(r.a), codes.OK)
			v.wantTotal(t, r.a, v.stagingPath(r.a), 3*gib)
			v.grow(4 * gib) // while it is connected, and the kernel is not told
			wantCode(t, v.publishTo(r.a), codes.OK)
			wantCode(t, v.stage(r.a), codes.OK)
			v.wantTotal(t, r.a, v.stagingPath(r.a), 4*gib)
			dev, err := r.a.driver.cfg.Node.NVMe.Find(soon(t), v.nqn(), r.a.id.HostNQN())
			if err != nil || dev.Size != 4*gib {
				t.Errorf("the connector shows %+v, %v", dev, err)
			}
		})
	}
}

func TestExpandThatCannotBe(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	for path, code := range map[string]codes.Code{"": codes.InvalidArgument, "/nowhere": codes.NotFound} {
		_, err := v.nodeExpand(r.a, path, gib)
		wantCode(t, err, code)
	}
	_, err := v.nodeExpand(r.a, v.stagingPath(r.a), -1)
	wantCode(t, err, codes.InvalidArgument)
	r.a.mounts.DropSysResource()
	v.grow(2 * gib)
	_, err = v.nodeExpand(r.a, v.stagingPath(r.a), 2*gib)
	wantCode(t, err, codes.FailedPrecondition, "CAP_SYS_RESOURCE")
	r.a.deviceTimeout = 50 * time.Millisecond
	r.a.boot()
	_, err = v.nodeExpand(r.a, v.stagingPath(r.a), 3*gib) // the array never grew that far
	wantCode(t, err, codes.DeadlineExceeded, "fewer than")
}

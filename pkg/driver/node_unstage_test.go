package driver

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme/nvmetest"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

func TestUnstageOfAPublishedVolumeChangesNothing(t *testing.T) {
	for name, capability := range map[string]*csi.VolumeCapability{"file system": mounted("ext4", singleWriter), "raw block": block(singleWriter)} {
		for _, state := range []string{"live", "connecting"} {
			t.Run(name+", "+state, func(t *testing.T) {
				r := newRig(t)
				v := r.attached(t, "v", capability)
				wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
				controller, before := r.a.controllerOf(v.nqn()), len(r.a.table())
				r.a.nvme.SetState(controller, state)
				wantCode(t, v.unstage(r.a), codes.FailedPrecondition, v.target(r.a, "pod"))
				if r.a.controllerOf(v.nqn()) != controller || len(r.a.table()) != before || len(r.a.records()) != 1 {
					t.Errorf("left: controller %q, mounts %+v, records %+v", r.a.controllerOf(v.nqn()), r.a.table(), r.a.records())
				}
				r.a.nvme.SetState(controller, "live")
				wantCode(t, v.nodeUnpublish(r.a, "pod"), codes.OK)
				wantCode(t, v.unstage(r.a), codes.OK)
				r.a.mustBeClean(t)
			})
		}
	}
}

func TestUnstageWhenTheConnectionIsLost(t *testing.T) {
	tests := map[string]func(m *machine, nqn string){
		"connecting":            func(m *machine, nqn string) { m.nvme.SetState(m.controllerOf(nqn), "connecting") },
		"removed by the kernel": func(m *machine, nqn string) { m.lose(nqn) },
	}
	for name, lose := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			v := r.attached(t, "v", mounted("ext4", singleWriter))
			lose(r.a, v.nqn())
			wantCode(t, v.unstage(r.a), codes.OK)
			r.a.mustBeClean(t)
			wantCode(t, v.unstage(r.a), codes.OK)
			if n := r.a.operations(t, telemetry.OpUnstage, telemetry.StatusNoop); n != 1 {
				t.Errorf("%d noops, want 1", n)
			}
		})
	}
}

// Without a record the volume id and the host NQN decide, and nothing that only looks similar is touched.
func TestUnstageWithoutARecord(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	files, err := filepath.Glob(filepath.Join(r.a.recordDir(), "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	others := map[string]string{ // NQN to host NQN
		rds.NQN(v.slot()+"0", "01234567"):        r.a.id.HostNQN(),
		rds.NQN(v.slot()[:20], "01234567"):       r.a.id.HostNQN(),
		rds.NQN(v.slot(), "0123456"):             r.a.id.HostNQN(),
		rds.NQN(v.slot(), "0123456X"):            r.a.id.HostNQN(),
		rds.NQN(v.slot(), "01234567") + ".extra": r.a.id.HostNQN(),
		"nqn.2000-02.com.mikrotik:root-disk":     r.a.id.HostNQN(),
		rds.NQN(v.slot(), "89abcdef"):            r.b.id.HostNQN(), // this node's own, under another host NQN
	}
	for nqn, hostNQN := range others {
		r.a.nvme.Export(nvmetest.Subsystem{NQN: nqn, Size: mib})
		r.a.nvme.Autoconnect(r.a.connection(nqn, hostNQN))
	}
	wantCode(t, v.unstage(r.a), codes.OK)
	if c := r.a.controllerOf(v.nqn()); c != "" || len(r.a.table()) != 0 {
		t.Errorf("left: %s %+v", c, r.a.table())
	}
	for nqn := range others {
		if r.a.controllerOf(nqn) == "" {
			t.Errorf("%s was disconnected", nqn)
		}
	}
	if n := r.a.operations(t, telemetry.OpUnstage, telemetry.StatusSuccess); n != 1 {
		t.Errorf("%d unstages succeeded, want 1", n)
	}
}

func TestUnstageOfWhatIsHeldByOthersIsRefused(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", block(singleWriter))
	release := r.a.nvme.Hold(filepath.Join(r.a.devDir, filepath.Base(r.a.disk(v.nqn())))) // a mount in another namespace
	wantCode(t, v.unstage(r.a), codes.FailedPrecondition)
	if r.a.controllerOf(v.nqn()) == "" || len(r.a.records()) != 1 {
		t.Error("it was disconnected, or forgotten")
	}
	release()
	wantCode(t, v.unstage(r.a), codes.OK)
	r.a.mustBeClean(t)
}

func TestHungUnmountIsReportedAndNotForced(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	release := r.a.mounts.Hang("umount", v.stagingPath(r.a))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	direct := newNode(r.a.driver, *r.a.driver.cfg.Node)
	_, err := direct.NodeUnstageVolume(ctx, &csi.NodeUnstageVolumeRequest{VolumeId: v.VolumeId, StagingTargetPath: v.stagingPath(r.a)})
	wantCode(t, statusOf(err), codes.Unavailable, "umount still hangs")
	if r.a.controllerOf(v.nqn()) == "" || len(r.a.records()) != 1 {
		t.Error("a hung umount was answered with a disconnect")
	}
	release()
	wantCode(t, v.unstage(r.a), codes.OK)
	r.a.mustBeClean(t)
}

func TestBusyStagingMountIsRefused(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	r.a.mounts.SetBusy(v.stagingPath(r.a), true)
	wantCode(t, v.unstage(r.a), codes.FailedPrecondition)
	if r.a.controllerOf(v.nqn()) == "" || len(r.a.table()) != 1 {
		t.Error("something was taken down")
	}
	r.a.mounts.SetBusy(v.stagingPath(r.a), false)
	wantCode(t, v.unstage(r.a), codes.OK)
	r.a.mustBeClean(t)
}

func TestUnstageAndUnpublishOfNothing(t *testing.T) {
	r := newRig(t)
	for _, id := range []string{"rds/csi-0000000000000000000000000000", "no volume", "other/x"} {
		_, err := r.a.NodeUnstageVolume(soon(t), &csi.NodeUnstageVolumeRequest{VolumeId: id, StagingTargetPath: filepath.Join(r.a.dir, "none")})
		wantCode(t, err, codes.OK)
		_, err = r.a.NodeUnpublishVolume(soon(t), &csi.NodeUnpublishVolumeRequest{VolumeId: id, TargetPath: filepath.Join(r.a.dir, "none")})
		wantCode(t, err, codes.OK)
	}
	for _, op := range []telemetry.Operation{telemetry.OpUnstage, telemetry.OpUnpublish} {
		if n := r.a.operations(t, op, telemetry.StatusNoop); n != 3 {
			t.Errorf("%s: %d noops, want 3", op, n)
		}
	}
	// What is not empty at a target is somebody's data, and stays.
	full := filepath.Join(r.a.dir, "full")
	if err := os.MkdirAll(filepath.Join(full, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := r.a.NodeUnpublishVolume(soon(t), &csi.NodeUnpublishVolumeRequest{VolumeId: "rds/x", TargetPath: full})
	if _, statErr := os.Stat(filepath.Join(full, "data")); err == nil || statErr != nil {
		t.Errorf("unpublish of a directory with files: %v, %v", err, statErr)
	}
}

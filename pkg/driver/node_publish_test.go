package driver

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// The CSI spec's table of second calls, for a plugin with SINGLE_NODE_MULTI_WRITER.
func TestSecondNodePublish(t *testing.T) {
	const ok, exists, refused = codes.OK, codes.AlreadyExists, codes.FailedPrecondition
	tests := []struct {
		name       string
		capability *csi.VolumeCapability
		// the second call: same target and arguments, same target with others, another target with the same, both other
		same, otherArgs, otherTarget, bothOther codes.Code
	}{
		{"SINGLE_NODE_SINGLE_WRITER", mounted("ext4", singleWriter), ok, exists, refused, refused},
		{"SINGLE_NODE_MULTI_WRITER", mounted("ext4", multiWriter), ok, exists, ok, ok},
		{"SINGLE_NODE_WRITER", mounted("ext4", nodeWriter), ok, exists, refused, refused},
		{"SINGLE_NODE_READER_ONLY", mounted("ext4", nodeReader), ok, exists, refused, refused},
		{"SINGLE_NODE_SINGLE_WRITER, block", block(singleWriter), ok, exists, refused, refused},
		{"SINGLE_NODE_MULTI_WRITER, block", block(multiWriter), ok, exists, ok, refused}, // one kernel cannot be read-only for one of two
		{"MULTI_NODE_MULTI_WRITER, block", block(sharedWriter), ok, exists, ok, refused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			v := r.attached(t, "v", tt.capability)
			wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
			otherArgs := func(pod string) error {
				req := v.nodePublishRequest(r.a, pod)
				if req.Readonly = true; tt.capability.GetAccessMode().GetMode() == nodeReader { // it is read-only anyway
					req.VolumeCapability = mounted("ext4", nodeReader, "noatime")
				}
				_, err := r.a.NodePublishVolume(soon(t), req)
				return err
			}
			before := len(r.a.table())
			wantCode(t, v.nodePublish(r.a, "pod"), tt.same)
			wantCode(t, otherArgs("pod"), tt.otherArgs)
			if n := len(r.a.table()); n != before {
				t.Errorf("%d mounts, want %d as before", n, before)
			}
			if n := r.a.operations(t, telemetry.OpPublish, telemetry.StatusNoop); n != 1 {
				t.Errorf("%d noops, want 1", n)
			}
			wantCode(t, v.nodePublish(r.a, "pod2"), tt.otherTarget)
			wantCode(t, otherArgs("pod3"), tt.bothOther)
			for _, pod := range []string{"pod", "pod2", "pod3"} {
				wantCode(t, v.nodeUnpublish(r.a, pod), codes.OK)
			}
			wantCode(t, v.unstage(r.a), codes.OK)
			r.a.mustBeClean(t)
		})
	}
}

func TestPublishReadOnly(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", multiWriter))
	wantCode(t, v.nodePublishReadOnly(r.a, "reader"), codes.OK)
	wantCode(t, v.nodePublish(r.a, "writer"), codes.OK)
	for _, m := range r.a.table() {
		if want := m.Path == v.target(r.a, "reader"); m.ReadOnly() != want {
			t.Errorf("%s is read-only %t, want %t", m.Path, m.ReadOnly(), want)
		}
	}
}

func TestReadOnlyModesAndOptionsPublishReadOnly(t *testing.T) {
	for name, capability := range map[string]*csi.VolumeCapability{
		"SINGLE_NODE_READER_ONLY": mounted("ext4", nodeReader),
		"mount option ro":         mounted("ext4", singleWriter, "ro"),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			v := r.attached(t, "v", mounted("ext4", singleWriter)) // it gets its file system
			wantCode(t, v.unstage(r.a), codes.OK)
			v.capability = capability
			wantCode(t, v.stage(r.a), codes.OK)
			wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
			for _, m := range r.a.table() {
				if m.Path == v.target(r.a, "pod") && !m.ReadOnly() {
					t.Errorf("published writable: %+v", m)
				}
			}
		})
	}
}

func TestRawBlockReadOnlyIsForTheWholeNode(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", block(multiWriter))
	wantCode(t, v.nodePublishReadOnly(r.a, "reader"), codes.OK)
	writable := func() bool {
		device, err := r.a.mounts.Devices().Open(r.a.disk(v.nqn()), false, true)
		if err != nil {
			t.Fatal(err)
		}
		defer device.Close()
		_, err = device.WriteAt([]byte("x"), 0)
		return err == nil
	}
	if writable() {
		t.Error("the kernel takes writes to a read-only device")
	}
	wantCode(t, v.nodePublish(r.a, "writer"), codes.FailedPrecondition, v.target(r.a, "reader"))
	if writable() {
		t.Error("a refused publish has made the device writable")
	}
	wantCode(t, v.nodePublishReadOnly(r.a, "reader2"), codes.OK)
	wantCode(t, v.nodeUnpublish(r.a, "reader"), codes.OK)
	wantCode(t, v.nodeUnpublish(r.a, "reader2"), codes.OK)
	wantCode(t, v.nodePublish(r.a, "writer"), codes.OK)
	if !writable() {
		t.Error("the device is still read-only for its writer")
	}
	wantCode(t, v.nodePublishReadOnly(r.a, "reader"), codes.FailedPrecondition, v.target(r.a, "writer"))
	if !writable() {
		t.Error("a refused publish has made the device read-only under its writer")
	}
}

func TestPublishWhatIsNotStagedSo(t *testing.T) {
	r := newRig(t)
	v := r.create(t, "v", gib, mounted("ext4", singleWriter))
	wantCode(t, v.publishTo(r.a), codes.OK)
	wantCode(t, v.nodePublish(r.a, "pod"), codes.NotFound, "not staged")
	wantCode(t, v.stage(r.a), codes.OK)
	raw := *v
	raw.capability = block(singleWriter)
	wantCode(t, raw.nodePublish(r.a, "pod"), codes.FailedPrecondition)
	req := v.nodePublishRequest(r.a, "pod")
	req.StagingTargetPath = filepath.Join(r.a.dir, "elsewhere")
	_, err := r.a.NodePublishVolume(soon(t), req)
	wantCode(t, err, codes.FailedPrecondition, v.stagingPath(r.a))
	if _, err := os.Stat(v.target(r.a, "pod")); !os.IsNotExist(err) {
		t.Errorf("a refused publish has left its target: %v", err)
	}
}

func TestPublishOntoSomebodysDataIsRefused(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	if err := os.MkdirAll(filepath.Join(v.target(r.a, "pod"), "files"), 0o700); err != nil {
		t.Fatal(err)
	}
	wantCode(t, v.nodePublish(r.a, "pod"), codes.FailedPrecondition, "not empty")
	if len(r.a.table()) != 1 {
		t.Errorf("mounts %+v", r.a.table())
	}
}

// The kernel dropped the controller: the volume is connected again, and mounted anew in place of what
// is dead, before it is published.
func TestPublishHealsAStaleStagingMount(t *testing.T) {
	r := newRig(t)
	v := r.attached(t, "v", mounted("ext4", multiWriter))
	wantCode(t, v.nodePublish(r.a, "first"), codes.OK)
	old := r.a.table()[0].Dev
	r.a.lose(v.nqn())
	wantCode(t, v.nodePublish(r.a, "second"), codes.OK)
	table := r.a.table()
	if len(table) != 3 {
		t.Errorf("mounts %+v", table)
	}
	for _, m := range table {
		if m.Dev == old {
			t.Errorf("%s is still of the dead device", m.Path)
		}
	}
	if n := r.a.ran("mkfs"); n != 1 {
		t.Errorf("mkfs ran %d times", n)
	}
	for _, pod := range []string{"first", "second"} {
		wantCode(t, v.nodeUnpublish(r.a, pod), codes.OK)
	}
	wantCode(t, v.unstage(r.a), codes.OK)
	r.a.mustBeClean(t)
}

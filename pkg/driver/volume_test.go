package driver

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

type accessMode = csi.VolumeCapability_AccessMode_Mode

const (
	singleWriter = csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER
	multiWriter  = csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER
	nodeWriter   = csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER
	nodeReader   = csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY
	sharedWriter = csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER
)

func mounted(fs string, mode accessMode, flags ...string) *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: mode},
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: fs, MountFlags: flags}},
	}
}

func block(mode accessMode) *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: mode},
		AccessType: &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}},
	}
}

// volume is one volume as Kubernetes sees it.
type volume struct {
	*csi.Volume
	rig        *rig
	t          testing.TB
	capability *csi.VolumeCapability
	published  map[string]string // publish context
}

func createRequest(name string, size int64, capability *csi.VolumeCapability) *csi.CreateVolumeRequest {
	return &csi.CreateVolumeRequest{
		Name: name, CapacityRange: &csi.CapacityRange{RequiredBytes: size}, VolumeCapabilities: []*csi.VolumeCapability{capability},
	}
}

func (r *rig) create(t testing.TB, name string, size int64, capability *csi.VolumeCapability) *volume {
	t.Helper()
	resp, err := r.controller.CreateVolume(soon(t), createRequest(name, size, capability))
	wantCode(t, err, codes.OK)
	return &volume{Volume: resp.GetVolume(), rig: r, t: t, capability: capability}
}

// attached creates a volume, publishes it to node a, and stages it there.
func (r *rig) attached(t testing.TB, name string, capability *csi.VolumeCapability) *volume {
	t.Helper()
	v := r.create(t, name, gib, capability)
	wantCode(t, v.publishTo(r.a), codes.OK)
	wantCode(t, v.stage(r.a), codes.OK)
	return v
}

func (v *volume) slot() string {
	_, slot, _ := strings.Cut(v.VolumeId, "/")
	return slot
}

func (v *volume) nqn() string { return v.published[keyNQN] }

// publishRequest names the port at which the node reaches the array: each has its own here.
func (v *volume) publishRequest(m *machine) *csi.ControllerPublishVolumeRequest {
	context := maps.Clone(v.VolumeContext)
	if context == nil {
		context = map[string]string{}
	}
	context[keyNVMePort] = strconv.Itoa(m.portal.Port)
	return &csi.ControllerPublishVolumeRequest{
		VolumeId: v.VolumeId, NodeId: m.id.String(), VolumeCapability: v.capability, VolumeContext: context,
	}
}

// publishTo publishes to the node and remembers the publish context.
func (v *volume) publishTo(m *machine) error {
	v.t.Helper()
	resp, err := v.rig.controller.ControllerPublishVolume(soon(v.t), v.publishRequest(m))
	if err == nil {
		v.published = resp.GetPublishContext()
	}
	return err
}

func (v *volume) unpublishFrom(m *machine) error {
	v.t.Helper()
	_, err := v.rig.controller.ControllerUnpublishVolume(soon(v.t), &csi.ControllerUnpublishVolumeRequest{VolumeId: v.VolumeId, NodeId: m.id.String()})
	return err
}

func (v *volume) stagingPath(m *machine) string { return filepath.Join(m.dir, v.slot()+".globalmount") }

func (v *volume) target(m *machine, pod string) string { return filepath.Join(m.dir, v.slot()+"."+pod) }

func (v *volume) stageRequest(m *machine) *csi.NodeStageVolumeRequest {
	return &csi.NodeStageVolumeRequest{
		VolumeId: v.VolumeId, PublishContext: v.published, StagingTargetPath: v.stagingPath(m),
		VolumeCapability: v.capability, VolumeContext: v.VolumeContext,
	}
}

func (v *volume) stage(m *machine) error {
	v.t.Helper()
	return v.stageIn(soon(v.t), m)
}

func (v *volume) stageIn(ctx context.Context, m *machine) error {
	v.t.Helper()
	if err := os.MkdirAll(v.stagingPath(m), 0o750); err != nil { // kubelet's part
		v.t.Fatal(err)
	}
	_, err := m.NodeStageVolume(ctx, v.stageRequest(m))
	return err
}

func (v *volume) unstage(m *machine) error {
	v.t.Helper()
	_, err := m.NodeUnstageVolume(soon(v.t), &csi.NodeUnstageVolumeRequest{VolumeId: v.VolumeId, StagingTargetPath: v.stagingPath(m)})
	return err
}

func (v *volume) nodePublishRequest(m *machine, pod string) *csi.NodePublishVolumeRequest {
	return &csi.NodePublishVolumeRequest{
		VolumeId: v.VolumeId, PublishContext: v.published, StagingTargetPath: v.stagingPath(m), TargetPath: v.target(m, pod),
		VolumeCapability: v.capability, VolumeContext: v.VolumeContext,
	}
}

func (v *volume) nodePublish(m *machine, pod string) error {
	v.t.Helper()
	_, err := m.NodePublishVolume(soon(v.t), v.nodePublishRequest(m, pod))
	return err
}

func (v *volume) nodePublishReadOnly(m *machine, pod string) error {
	v.t.Helper()
	req := v.nodePublishRequest(m, pod)
	req.Readonly = true
	_, err := m.NodePublishVolume(soon(v.t), req)
	return err
}

func (v *volume) nodeUnpublish(m *machine, pod string) error {
	v.t.Helper()
	_, err := m.NodeUnpublishVolume(soon(v.t), &csi.NodeUnpublishVolumeRequest{VolumeId: v.VolumeId, TargetPath: v.target(m, pod)})
	return err
}

func (v *volume) delete() error {
	v.t.Helper()
	_, err := v.rig.controller.DeleteVolume(soon(v.t), &csi.DeleteVolumeRequest{VolumeId: v.VolumeId})
	return err
}

// wantCode checks the code of a call, and that its message has all these texts.
func wantCode(t testing.TB, err error, want codes.Code, texts ...string) {
	t.Helper()
	if got := status.Code(err); got != want {
		t.Fatalf("code %s, want %s; error: %v", got, want, err)
	}
	for _, text := range texts {
		if message := status.Convert(err).Message(); !strings.Contains(message, text) {
			t.Errorf("message %q does not have %q", message, text)
		}
	}
}

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
)

// loopNode is a node whose volumes are the files of a simulated array, as loop devices.
type loopNode struct {
	*service
	id  string // as the CO knows it
	dir string // kubelet's
}

// startLoopNode runs the driver's node, and with more flags the controller beside it.
func startLoopNode(t *testing.T, env []string, arrayDir, dir string, flags ...string) *loopNode {
	t.Helper()
	s := startDriver(t, env, append([]string{"--node", "--node-id=node-1", "--plugin-dir=" + filepath.Join(dir, "plugin"), "--dev-loop-dir=" + arrayDir}, flags...)...)
	info, err := csi.NewNodeClient(s.conn).NodeGetInfo(program.Soon(t), &csi.NodeGetInfoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return &loopNode{service: s, id: info.GetNodeId(), dir: dir}
}

// loopVolume is a volume as Kubernetes sees it.
type loopVolume struct {
	*csi.Volume
	capability *csi.VolumeCapability
	context    map[string]string // of its publish
}

// published creates a volume and publishes it to a node.
func (s *service) published(t *testing.T, name, nodeID string) *loopVolume {
	t.Helper()
	c, req := csi.NewControllerClient(s.conn), createRequest(name)
	made, err := c.CreateVolume(program.Soon(t), req)
	if err != nil {
		t.Fatal(err)
	}
	v := &loopVolume{Volume: made.GetVolume(), capability: req.GetVolumeCapabilities()[0]}
	resp, err := c.ControllerPublishVolume(program.Soon(t), &csi.ControllerPublishVolumeRequest{
		VolumeId: v.GetVolumeId(), NodeId: nodeID, VolumeCapability: v.capability, VolumeContext: v.GetVolumeContext(),
	})
	if err != nil {
		t.Fatal(err)
	}
	v.context = resp.GetPublishContext()
	return v
}

func (n *loopNode) staging(v *loopVolume) string {
	return filepath.Join(n.dir, "staging", filepath.Base(v.GetVolumeId()))
}

func (n *loopNode) stage(ctx context.Context, v *loopVolume) error {
	if err := os.MkdirAll(n.staging(v), 0o755); err != nil {
		return err
	}
	_, err := csi.NewNodeClient(n.conn).NodeStageVolume(ctx, &csi.NodeStageVolumeRequest{
		VolumeId: v.GetVolumeId(), PublishContext: v.context, StagingTargetPath: n.staging(v), VolumeCapability: v.capability,
		VolumeContext: v.GetVolumeContext(),
	})
	return err
}

func (n *loopNode) unstage(ctx context.Context, v *loopVolume) error {
	_, err := csi.NewNodeClient(n.conn).NodeUnstageVolume(ctx, &csi.NodeUnstageVolumeRequest{
		VolumeId: v.GetVolumeId(), StagingTargetPath: n.staging(v),
	})
	return err
}

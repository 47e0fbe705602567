package guest

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"strconv"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

// node is a node plugin with a name, a directory and an identity of its own. All nodes share the guest's
// kernel; what tells them apart on the array is their host NQN.
type node struct {
	*plugin
	cluster *cluster
	name    string
	id      string       // as NodeGetInfo gives it
	portal  *nvme.Portal // where this node finds the array, nil for what the controller says
}

// newNode starts one. Later flags win.
func (c *cluster) newNode(name string, flags ...string) *node {
	c.t.Helper()
	n := &node{cluster: c, name: name}
	n.plugin = startPlugin(c.t, c.mkdir(name), append([]string{"--node", "--node-id=" + name}, flags...)...)
	ctx, cancel := context.WithTimeout(context.Background(), rpcTimeout)
	defer cancel()
	info, err := n.NodeGetInfo(ctx, &csi.NodeGetInfoRequest{})
	ok(c.t, err)
	n.id = info.GetNodeId()
	c.nodes = append(c.nodes, n)
	return n
}

// through has the node reach the array by a proxy, for what is staged from now on.
func (n *node) through(p *proxy) { n.portal = &p.portal }

func (n *node) publishContext(v *volume) map[string]string {
	context := maps.Clone(v.published[n.name])
	if n.portal != nil {
		context["nvmeAddress"], context["nvmePort"] = n.portal.Address, strconv.Itoa(n.portal.Port)
	}
	return context
}

// staging is the volume's staging path on the node, which kubelet has made before it stages.
func (n *node) staging(v *volume) string {
	return filepath.Join(n.dir, "kubelet", v.name, "globalmount")
}

// path is where a pod has the volume: a directory, or the device.
func (n *node) path(v *volume, pod string) string {
	return filepath.Join(n.dir, "kubelet", "pods", pod, v.name)
}

func (n *node) stage(ctx context.Context, v *volume) error {
	if err := os.MkdirAll(n.staging(v), 0o750); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	_, err := n.NodeStageVolume(ctx, &csi.NodeStageVolumeRequest{
		VolumeId: v.id, StagingTargetPath: n.staging(v), VolumeCapability: v.capability(), PublishContext: n.publishContext(v), VolumeContext: v.context,
	})
	return err
}

func (n *node) unstage(ctx context.Context, v *volume) error {
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	_, err := n.NodeUnstageVolume(ctx, &csi.NodeUnstageVolumeRequest{VolumeId: v.id, StagingTargetPath: n.staging(v)})
	return err
}

func (n *node) publish(ctx context.Context, v *volume, pod string) error {
	return n.publishAs(ctx, v, pod, false)
}

func (n *node) publishAs(ctx context.Context, v *volume, pod string, readOnly bool) error {
	if err := os.MkdirAll(filepath.Dir(n.path(v, pod)), 0o750); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	_, err := n.NodePublishVolume(ctx, &csi.NodePublishVolumeRequest{
		VolumeId: v.id, StagingTargetPath: n.staging(v), TargetPath: n.path(v, pod), VolumeCapability: v.capability(), Readonly: readOnly,
		PublishContext: n.publishContext(v), VolumeContext: v.context,
	})
	return err
}

func (n *node) unpublish(ctx context.Context, v *volume, pod string) error {
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	_, err := n.NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: v.id, TargetPath: n.path(v, pod)})
	return err
}

// expand is NodeExpandVolume, after cluster.expand.
func (n *node) expand(ctx context.Context, v *volume, pod string) error {
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	_, err := n.NodeExpandVolume(ctx, &csi.NodeExpandVolumeRequest{
		VolumeId: v.id, VolumePath: n.path(v, pod), StagingTargetPath: n.staging(v), VolumeCapability: v.capability(),
		CapacityRange: &csi.CapacityRange{RequiredBytes: v.size},
	})
	return err
}

// stats is NodeGetVolumeStats. For a raw device it has the size only.
func (n *node) stats(ctx context.Context, v *volume, pod string) (*csi.NodeGetVolumeStatsResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	return n.NodeGetVolumeStats(ctx, &csi.NodeGetVolumeStatsRequest{VolumeId: v.id, VolumePath: n.path(v, pod), StagingTargetPath: n.staging(v)})
}

// records are the node's stage records, by file.
func (n *node) records() []string {
	n.t.Helper()
	files, err := filepath.Glob(filepath.Join(n.dir, "stage", "*"))
	ok(n.t, err)
	return files
}

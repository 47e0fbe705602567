package guest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
)

const (
	mib = 1 << 20
	gib = 1 << 30

	// rpcTimeout is what kubelet and the sidecars give a call.
	rpcTimeout = 2 * time.Minute

	// block as a file system is a raw block volume.
	block = "block"
)

// cluster is an array, the driver's controller, and as many nodes as the test starts. The test is Kubernetes:
// it makes the calls, in the order it likes. Each call gives its error as the client sees it; ok ends the
// test on one.
//
//	c := newCluster(t)
//	n := c.newNode("node-1")
//	v := c.create(ctx, spec{name: "a", fs: "xfs"})
//	ok(t, c.attach(ctx, v, n, "pod"))        // ControllerPublish, NodeStage, NodePublish
//	writeData(t, n.path(v, "pod")+"/data", 1, 8*mib)
//	ok(t, c.detach(ctx, v, n, "pod"))
//	ok(t, c.delete(ctx, v))
//
// At the end the test fails if a controller, a mount or a stage record is left; and all is tidied up.
type cluster struct {
	t          *testing.T
	dir        string
	array      *array
	controller *plugin
	nodes      []*node
}

// newCluster starts array and controller.
func newCluster(t *testing.T, arrayFlags ...string) *cluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "c-") // short: a socket's path has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, dir: dir}
	t.Cleanup(c.tidy)
	c.array = startArray(t, filepath.Join(dir, "array"), arrayFlags...)
	c.controller = startPlugin(t, c.mkdir("controller"), append([]string{"--controller"}, c.array.driver...)...)
	t.Cleanup(c.check)
	return c
}

func (c *cluster) mkdir(name string) string {
	c.t.Helper()
	dir := filepath.Join(c.dir, name)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		c.t.Fatal(err)
	}
	return dir
}

// spec is what a PVC and its StorageClass ask for.
type spec struct {
	name   string
	size   int64  // 0 = 512 MiB
	fs     string // "" = ext4
	mode   csi.VolumeCapability_AccessMode_Mode
	flags  []string          // mount options
	params map[string]string // of the StorageClass
}

func (s spec) capability() *csi.VolumeCapability {
	mode := s.mode
	if mode == csi.VolumeCapability_AccessMode_UNKNOWN {
		mode = csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER
	}
	capability := &csi.VolumeCapability{AccessMode: &csi.VolumeCapability_AccessMode{Mode: mode}}
	if s.fs == block {
		capability.AccessType = &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}
	} else {
		capability.AccessType = &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: s.fs, MountFlags: s.flags}}
	}
	return capability
}

// volume is what Kubernetes keeps of one.
type volume struct {
	spec
	id        string
	context   map[string]string
	published map[string]map[string]string // publish contexts by the node's name
}

// slot is its name on the array.
func (v *volume) slot() string { return v.id[strings.LastIndex(v.id, "/")+1:] }

// create makes a volume, which must work. What tests a failing CreateVolume calls tryCreate.
func (c *cluster) create(ctx context.Context, s spec) *volume {
	c.t.Helper()
	v, err := c.tryCreate(ctx, s)
	ok(c.t, err)
	return v
}

func (c *cluster) tryCreate(ctx context.Context, s spec) (*volume, error) {
	if s.size == 0 {
		s.size = 512 * mib
	}
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	resp, err := c.controller.CreateVolume(ctx, &csi.CreateVolumeRequest{
		Name: s.name, CapacityRange: &csi.CapacityRange{RequiredBytes: s.size}, VolumeCapabilities: []*csi.VolumeCapability{s.capability()}, Parameters: s.params,
	})
	if err != nil {
		return nil, err
	}
	made := resp.GetVolume()
	s.size = made.GetCapacityBytes()
	return &volume{spec: s, id: made.GetVolumeId(), context: made.GetVolumeContext(), published: map[string]map[string]string{}}, nil
}

func (c *cluster) delete(ctx context.Context, v *volume) error {
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	_, err := c.controller.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: v.id})
	return err
}

// publish is ControllerPublishVolume: the array lets the node in.
func (c *cluster) publish(ctx context.Context, v *volume, n *node) error {
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	resp, err := c.controller.ControllerPublishVolume(ctx, &csi.ControllerPublishVolumeRequest{
		VolumeId: v.id, NodeId: n.id, VolumeCapability: v.capability(), VolumeContext: v.context,
	})
	if err == nil {
		v.published[n.name] = resp.GetPublishContext()
	}
	return err
}

func (c *cluster) unpublish(ctx context.Context, v *volume, n *node) error {
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	_, err := c.controller.ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{VolumeId: v.id, NodeId: n.id})
	return err
}

// expand is ControllerExpandVolume. The node's part is node.expand.
func (c *cluster) expand(ctx context.Context, v *volume, size int64) error {
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	resp, err := c.controller.ControllerExpandVolume(ctx, &csi.ControllerExpandVolumeRequest{
		VolumeId: v.id, CapacityRange: &csi.CapacityRange{RequiredBytes: size}, VolumeCapability: v.capability(),
	})
	if err == nil {
		v.size = resp.GetCapacityBytes()
	}
	return err
}

// attach does all that brings a volume to a pod.
func (c *cluster) attach(ctx context.Context, v *volume, n *node, pod string) error {
	if err := c.publish(ctx, v, n); err != nil {
		return err
	}
	if err := n.stage(ctx, v); err != nil {
		return err
	}
	return n.publish(ctx, v, pod)
}

// detach takes it away again.
func (c *cluster) detach(ctx context.Context, v *volume, n *node, pod string) error {
	if err := n.unpublish(ctx, v, pod); err != nil {
		return err
	}
	if err := n.unstage(ctx, v); err != nil {
		return err
	}
	return c.unpublish(ctx, v, n)
}

// ok ends the test on an error.
func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// retry repeats a call as Kubernetes does, until it works or the time is up.
func retry(t *testing.T, within time.Duration, call func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := call()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still failing after %s: %v", within, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

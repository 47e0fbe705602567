package driver

import (
	"testing"

	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/kube"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/kube/kubetest"
)

// cluster is an API server that node a of a rig talks to.
type cluster struct {
	*kubetest.Server
	t *testing.T
	r *rig
}

func newCluster(t *testing.T, r *rig) *cluster {
	t.Helper()
	c := &cluster{Server: kubetest.Start(t), t: t, r: r}
	c.Put(kubetest.KubeSystem, kubetest.Namespace("cluster-1"))
	client, err := kube.Open(c.Kubeconfig(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	r.a.kubernetes = kube.NewAttachments(client, testDriver, r.a.id.Name)
	r.a.events = runEvents(t, client, r.a.id.Name)
	r.a.boot()
	return c
}

// attachment is the VolumeAttachment of a volume that is published to node a.
func (c *cluster) attachment(v *volume, handle string) kubetest.Attachment {
	return kubetest.Attachment{Driver: testDriver, Node: c.r.a.id.Name, Handle: handle, UID: "uid of " + v.nqn(), PV: "pv-" + v.slot(), Published: v.published}
}

func (c *cluster) attach(v *volume) {
	a := c.attachment(v, v.VolumeId)
	c.Put(a.Path(), a.Object())
}

func (c *cluster) detach(v *volume) { c.Remove(c.attachment(v, v.VolumeId).Path()) }

// ask lets the node ask Kubernetes about its volumes, as if they had been staged a while ago.
func (c *cluster) ask() error {
	c.t.Helper()
	records := c.r.a.config().Records
	for _, r := range c.r.a.records() {
		if r.StagedAt.IsZero() {
			continue
		}
		r.StagedAt = r.StagedAt.Add(-2 * attachedAfter)
		if err := records.Save(r); err != nil {
			c.t.Fatal(err)
		}
	}
	return c.r.a.driver.Staged().AskKubernetes(soon(c.t))
}

func (c *cluster) mustAsk() {
	c.t.Helper()
	if err := c.ask(); err != nil {
		c.t.Fatal(err)
	}
}

// attachedSeen is a staged and published volume whose VolumeAttachment the node has seen.
func attachedSeen(t *testing.T, fs string) (*rig, *cluster, *volume) {
	t.Helper()
	r := newRig(t)
	c := newCluster(t, r)
	v := r.attached(t, "v", mounted(fs, singleWriter))
	wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
	c.attach(v)
	c.mustAsk()
	if seen := r.a.records()[0].Attachment; seen == nil || seen.UID != "uid of "+v.nqn() || seen.PV != "pv-"+v.slot() || seen.Cluster != "cluster-1" {
		t.Fatalf("seen %+v", seen)
	}
	return r, c, v
}

// cutOff is what happens to a node that does not answer: the volume is taken from it, and its session ends.
func cutOff(t *testing.T, r *rig, v *volume) {
	t.Helper()
	wantCode(t, v.unpublishFrom(r.a), codes.OK)
	r.a.nvme.SetState(r.a.controllerOf(v.nqn()), "connecting")
}

package guest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/kube/kubetest"
)

// detachedGrace is shorter than the default, and long enough to be told from none.
const detachedGrace = 5 * time.Second

// A node that is cut off waits for its array for ever. While Kubernetes has the volume attached that is right;
// once it has not, the node lets go: what it has not written must never arrive, and nothing else would end it.
func TestAVolumeThatKubernetesHasDetachedIsLetGoOf(t *testing.T) {
	kinds := []string{"ext4"}
	if full() { // each takes a minute, most of it until the attachment is looked for
		kinds = append(kinds, block)
	}
	for _, fs := range kinds {
		t.Run(fs, func(t *testing.T) { detachedAndReleased(t, fs) })
	}
}

func detachedAndReleased(t *testing.T, fs string) {
	ctx, c, api := t.Context(), newCluster(t), kubetest.Start(t)
	api.Put(kubetest.KubeSystem, kubetest.Namespace("uid of the cluster"))
	n := c.newNode("node-1", "--kubeconfig="+api.Kubeconfig(t), "--detached-grace="+detachedGrace.String())
	p := newProxy(t, c.array.portal())
	n.through(p)
	v := c.create(ctx, spec{name: "pvc-1", fs: fs})
	ok(t, c.attach(ctx, v, n, "pod"))
	attachment := kubetest.Attachment{Driver: "rds.csi.srvlab.io", Node: n.name, Handle: v.id, UID: "uid of this attachment", PV: "pv-1", Published: n.publishContext(v)}
	api.Put(attachment.Path(), attachment.Object())
	program.Await(t, "the attachment is noted", func() bool { return strings.Contains(n.record(), attachment.UID) })

	w := startWriter(t, dataPath(n, v, "pod"))
	program.Await(t, "the pod writes", func() bool { return w.confirmed() > 10 })
	p.cut()
	program.Await(t, "the node sees the outage", func() bool { return n.is(unknownSeries, 1) })
	asked := len(api.Seen())
	program.Await(t, "the node asks Kubernetes twice", func() bool { return len(api.Seen()) >= asked+2 })
	if len(controllers(t)) != 1 || n.record() == "" {
		t.Fatal("it let go of a volume that is attached")
	}
	ok(t, c.unpublish(ctx, v, n))
	detached := time.Now()
	api.Remove(attachment.Path())
	program.Await(t, "the node lets go", func() bool { return len(controllers(t)) == 0 && n.record() == "" })
	if took := time.Since(detached); took < detachedGrace {
		t.Errorf("it let go after %s already", took)
	}
	if err := w.end(); err == nil {
		t.Error("the pod noticed nothing")
	}
	program.Await(t, "the event", func() bool { return strings.Contains(n.Stderr.String(), "fenced, unsynced data dropped") })
	if left := mountsBelow(t, n.dir); len(left) > 0 {
		t.Errorf("still mounted: %q", left)
	}
	ok(t, n.unpublish(ctx, v, "pod")) // kubelet's part comes later
	ok(t, n.unstage(ctx, v))
	p.heal()
	ok(t, c.attach(ctx, v, n, "pod")) // and it comes back
	ok(t, c.detach(ctx, v, n, "pod"))
	ok(t, c.delete(ctx, v))
}

// record is the text of the only stage record; "" where there is none.
func (n *node) record() string {
	n.t.Helper()
	files, err := filepath.Glob(filepath.Join(n.dir, "stage", "*.json"))
	ok(n.t, err)
	if len(files) == 0 {
		return ""
	}
	text, err := os.ReadFile(files[0])
	if os.IsNotExist(err) {
		return ""
	}
	ok(n.t, err)
	return string(text)
}

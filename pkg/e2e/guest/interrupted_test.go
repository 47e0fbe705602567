package guest

import (
	"os"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
)

// The plugin and mkfs are killed when mkfs has written most of it, and the pod goes elsewhere: NodeUnstage makes
// the volume blank again, so that another node may format it. Of btrfs, as that writes where the proof of a
// blank device looks, beside the places where file systems have their signatures.
func TestInterruptedMkfsIsUndoneForAnotherNode(t *testing.T) {
	const systemTree = 21 * mib
	ctx, c := t.Context(), newCluster(t)
	k := newKills(t, c)
	n, other := k.node, c.newNode("node-2")
	v := c.create(ctx, spec{name: "pvc-1", fs: "btrfs", size: killSize})
	ok(t, c.publish(ctx, v, n))
	file, err := os.Open(c.array.file(v))
	ok(t, err)
	defer file.Close()
	begun := func() bool {
		var b [4096]byte
		_, err := file.ReadAt(b[:], systemTree)
		ok(t, err)
		return b != [4096]byte{}
	}
	ended := k.begin(func() error { return n.stage(ctx, v) })
	k.wait(ended, begun)
	k.killWith(children(t, n.PID()))
	select {
	case <-ended:
	case <-time.After(program.Patience):
		t.Fatal("NodeStage has not ended with the plugin")
	}
	if left := k.leftovers(v); left != "record formatting, controller live" || !begun() {
		t.Fatalf("the kill came too late or too early; it left %s", left)
	}
	n.start()
	k.takeAway(ctx, v)
	if begun() {
		t.Error("what mkfs wrote is still there")
	}
	ok(t, c.unpublish(ctx, v, n))
	ok(t, c.attach(ctx, v, other, "pod"))
	writeData(t, dataPath(other, v, "pod"), 1, killData)
	ok(t, c.detach(ctx, v, other, "pod"))
	ok(t, c.delete(ctx, v))
}

package guest

import (
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry/otlptest"
)

// The steps of a stage over real NVMe/TCP arrive at a collector, also those of the last batch: the plugin is
// stopped right after the call.
func TestTheStepsOfAStageReachACollector(t *testing.T) {
	ctx, c := t.Context(), newCluster(t)
	n := c.newNode("node-1")
	receiver := otlptest.StartReceiver(t)
	n.stop()
	n.env = receiver.Environment()
	n.start()
	v := c.create(ctx, spec{name: "pvc-1", size: 64 * mib})
	ok(t, c.publish(ctx, v, n))
	ok(t, n.stage(ctx, v))
	n.stop()
	steps := []string{"nvme.connect", "nvme.device.wait", "fs.probe", "exec mkfs.ext4", "mount"}
	if complete, found := receiver.HasInOrder("csi.v1.Node/NodeStageVolume", steps...); !complete {
		t.Errorf("below NodeStageVolume there is %q, want %q in this order", found, steps)
	}
	if below := receiver.Children("nvme.connect"); len(below) != 1 || below[0] != "nvme.predial" {
		t.Errorf("below nvme.connect there is %q", below)
	}
	if below := receiver.Children("fs.probe"); len(below) != 1 || below[0] != "exec blkid" {
		t.Errorf("below fs.probe there is %q", below)
	}
	n.start()
	ok(t, n.unstage(ctx, v))
	ok(t, c.unpublish(ctx, v, n))
	ok(t, c.delete(ctx, v))
}

package guest

import (
	"fmt"
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
)

// What a StorageClass says of a connection is what the kernel has.
func TestParametersReachTheKernel(t *testing.T) {
	ctx, c := t.Context(), newCluster(t)
	n := c.newNode("node-1")
	v := c.create(ctx, spec{name: "pvc-1", fs: block, params: map[string]string{
		"nrIoQueues": "1", "ctrlLossTmo": "60", "reconnectDelay": "3", "keepAliveTmo": "7", "fastIoFailTmo": "20",
	}})
	ok(t, c.publish(ctx, v, n))
	ok(t, n.stage(ctx, v))
	for attribute, want := range map[string]string{
		"queue_count": "2", "ctrl_loss_tmo": "60", "reconnect_delay": "3", "kato": "7", "fast_io_fail_tmo": "20",
	} {
		name, _, _ := strings.Cut(controllers(t)[0], " ")
		if got := controllerAttribute(t, name, attribute); got != want {
			t.Errorf("%s is %q, want %q", attribute, got, want)
		}
	}
	ok(t, n.unstage(ctx, v))

	many := c.create(ctx, spec{name: "pvc-2", fs: block, params: map[string]string{"nrIoQueues": "100"}})
	ok(t, c.publish(ctx, many, n))
	ok(t, n.stage(ctx, many)) // with as many queues as the guest has processors
	if !strings.Contains(n.Stderr.String(), `"parameter":"nr_io_queues=100"`) {
		t.Error("nothing says that the kernel did not take nr_io_queues=100")
	}
	ok(t, n.unstage(ctx, many))
	for _, v := range []*volume{v, many} {
		ok(t, c.unpublish(ctx, v, n))
		ok(t, c.delete(ctx, v))
	}
}

// Two addresses are two paths to one device: one may go, and comes back by itself.
func TestTwoAddressesAreTwoPaths(t *testing.T) {
	ctx, c := t.Context(), newCluster(t)
	n := c.newNode("node-1")
	second := newProxyAt(t, fmt.Sprintf("127.0.0.2:%d", nvmePort), c.array.portal())
	v := c.create(ctx, spec{name: "pvc-1", params: map[string]string{
		"nvmeAddress": "127.0.0.1,127.0.0.2", "ctrlLossTmo": "5", "reconnectDelay": "1",
	}})
	ok(t, c.attach(ctx, v, n, "pod"))
	if list := controllers(t); len(list) != 2 {
		t.Fatalf("controllers %q, want one for each address", list)
	}
	if disks := strings.Fields(blockDevices(t)); len(disks) != 1 {
		t.Fatalf("disks %q, want one for both", disks)
	}
	w := startWriter(t, dataPath(n, v, "pod"))
	program.Await(t, "the pod writes", func() bool { return w.confirmed() > 10 })
	second.cut()
	program.Await(t, "the kernel gives the second path up", func() bool { return len(controllers(t)) == 1 })
	before := w.confirmed()
	program.Await(t, "the pod goes on by the first", func() bool { return w.confirmed() > before+10 })
	n.must(t, staleSeries, 0)
	second.heal()
	program.Await(t, "the second path is back", func() bool { return len(controllers(t)) == 2 })
	ok(t, w.end())
	w.check(dataPath(n, v, "pod"))
	n.must(t, lostSeries, 0)
	n.must(t, `rds_csi_stale_mounts_detected_total{reason="device_gone"}`, 0)
	ok(t, c.detach(ctx, v, n, "pod"))
	ok(t, c.delete(ctx, v))
}

package guest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
)

// healedWithin is how soon after its target is back a volume must be well again, without any call.
const healedWithin = 15 * time.Second

// series are the metrics of one node that outages and recoveries change.
const (
	healthySeries   = `rds_csi_mounts{state="healthy"}`
	staleSeries     = `rds_csi_mounts{state="stale"}`
	unknownSeries   = `rds_csi_mounts{state="unknown"}`
	recoveredSeries = `rds_csi_nvme_reconnects_total{status="recovered"}`
	lostSeries      = `rds_csi_nvme_reconnects_total{status="lost"}`
	healsSeries     = `rds_csi_stale_recoveries_total{status="success"}`
	failuresSeries  = `rds_csi_stale_recoveries_total{status="failure"}`
)

// is tells whether a series of the node has the value.
func (n *node) is(series string, want float64) bool {
	value, there := n.metric(series)
	return there && value == want
}

func (n *node) must(t *testing.T, series string, want float64) {
	t.Helper()
	if value, there := n.metric(series); !there || value != want {
		t.Errorf("%s is %v (there: %t), want %v", series, value, there, want)
	}
}

// mustHealAll waits until so many volumes are healthy and none is stale, and fails the test if that takes
// too long from when the target was back.
func (n *node) mustHealAll(t *testing.T, back time.Time, volumes int) {
	t.Helper()
	program.Await(t, "all volumes are healthy", func() bool { return n.is(healthySeries, float64(volumes)) && n.is(staleSeries, 0) })
	took := time.Since(back).Round(100 * time.Millisecond)
	t.Logf("%d volumes were healthy %s after their target was back", volumes, took)
	if took > healedWithin {
		t.Errorf("healthy only %s after the target was back, want %s; where the time went:\n%s", took, healedWithin, n.durations())
	}
}

// durations are the sums and counts of what a recovery does.
func (n *node) durations() string {
	var lines []string
	for line := range strings.Lines(n.metrics()) {
		if strings.Contains(line, "duration_seconds_sum") || strings.Contains(line, "duration_seconds_count") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// The kernel reconnects by itself: whoever writes waits, and nothing else happens.
func TestAnOutageIsWaitedOut(t *testing.T) {
	ctx, c := t.Context(), newCluster(t)
	n := c.newNode("node-1")
	p := newProxy(t, c.array.portal())
	n.through(p)
	v := c.create(ctx, spec{name: "pvc-1"})
	ok(t, c.attach(ctx, v, n, "pod"))
	w := startWriter(t, dataPath(n, v, "pod"))
	program.Await(t, "the pod writes", func() bool { return w.confirmed() > 10 })
	p.cut()
	cut := time.Now()
	program.Await(t, "the node sees the outage", func() bool { return n.is(unknownSeries, 1) })
	stopped := w.confirmed()
	<-time.After(time.Until(cut.Add(20 * time.Second))) // the length of the outage
	if went := w.confirmed() - stopped; went > 1 {
		t.Errorf("%d blocks were confirmed without a target", went)
	}
	p.heal()
	program.Await(t, "the pod goes on writing", func() bool { return w.confirmed() > stopped+10 })
	program.Await(t, "the end of the outage is seen", func() bool { return n.is(healthySeries, 1) })
	ok(t, w.end())
	w.check(dataPath(n, v, "pod"))
	n.must(t, recoveredSeries, 1)
	n.must(t, lostSeries, 0)
	for _, status := range []string{"success", "failure", "skipped"} {
		n.must(t, `rds_csi_stale_recoveries_total{status="`+status+`"}`, 0)
	}
	ok(t, c.detach(ctx, v, n, "pod"))
	ok(t, c.delete(ctx, v))
}

// ctrl_loss_tmo has passed: the device is gone for good. When the target is back the volume is mounted
// anew, and a pod that starts then finds all that was synced.
func TestALostDeviceIsHealed(t *testing.T) {
	for name, restart := range map[string]bool{"by the plugin that runs": false, "by a plugin that starts": true} {
		kinds := fileSystems()
		if restart && !full() { // what they differ in is in the other half
			kinds = []string{"ext4", block}
		}
		for _, fs := range kinds {
			t.Run(name+"/"+fs, func(t *testing.T) { lostAndHealed(t, fs, restart) })
		}
	}
}

func lostAndHealed(t *testing.T, fs string, restart bool) {
	ctx, c := t.Context(), newCluster(t)
	n := c.newNode("node-1")
	p := newProxy(t, c.array.portal())
	n.through(p)
	v := c.create(ctx, spec{name: "pvc-1", fs: fs, params: map[string]string{"ctrlLossTmo": "5", "reconnectDelay": "1"}})
	ok(t, c.attach(ctx, v, n, "pod"))
	w := startWriter(t, dataPath(n, v, "pod"))
	program.Await(t, "the pod writes", func() bool { return w.confirmed() > 10 })
	if restart {
		n.kill()
	}
	p.cut()
	program.Await(t, "the kernel gives the device up", func() bool { return len(controllers(t)) == 0 })
	if err := w.end(); err == nil {
		t.Error("the pod noticed nothing")
	}
	p.heal()
	back := time.Now()
	if restart {
		n.start()
	}
	n.mustHealAll(t, back, 1)
	n.must(t, healsSeries, 1)
	n.must(t, failuresSeries, 0)
	if !restart {
		n.must(t, lostSeries, 1)
	}
	w.check(dataPath(n, v, "pod")) // a container that restarts in its pod
	ok(t, n.unpublish(ctx, v, "pod"))
	ok(t, n.publish(ctx, v, "new-pod"))
	w.check(dataPath(n, v, "new-pod"))
	ok(t, c.detach(ctx, v, n, "new-pod"))
	ok(t, c.delete(ctx, v))
}

// An array that reboots listens before its exports are there, which come back in another order and with
// other namespace UUIDs. Linux 6.12 removes a controller that is refused; 6.1 goes on trying, and then
// finds a namespace that is not the one it had.
func TestAnArrayRebootIsSurvived(t *testing.T) {
	ctx, c := t.Context(), newCluster(t)
	n := c.newNode("node-1")
	count := 8
	if full() {
		count = 20
	}
	volumes := c.distinct(ctx, t, n, count)
	c.array.reboot(4 * time.Second)
	program.Await(t, "the exports are gone", func() bool { return exported(t) == 0 })
	program.Await(t, "the exports are back", func() bool { return exported(t) == len(volumes) })
	n.mustHealAll(t, time.Now(), len(volumes))
	lost, _ := n.metric(lostSeries)
	t.Logf("%v of %d controllers were removed by the kernel", lost, len(volumes))
	if release(t) >= "6.5" && lost == 0 {
		t.Error("no refusal made the kernel remove a controller: the array did not listen early, and this shows nothing")
	}
	n.must(t, failuresSeries, 0)
	for i, v := range volumes {
		checkData(t, dataPath(n, v, "pod"), byte(i+1), mib)
		ok(t, n.unpublish(ctx, v, "pod"))
		ok(t, n.publish(ctx, v, "new-pod"))
		checkData(t, dataPath(n, v, "new-pod"), byte(i+1), mib)
		ok(t, c.detach(ctx, v, n, "new-pod"))
		ok(t, c.delete(ctx, v))
	}
}

// distinct are volumes that each hold data of their own, so that none can be taken for another.
func (c *cluster) distinct(ctx context.Context, t *testing.T, n *node, count int) []*volume {
	t.Helper()
	var volumes []*volume
	for i := range count {
		s := spec{name: fmt.Sprintf("pvc-%d", i), size: 64 * mib}
		if i%5 == 4 {
			s.fs = block
		}
		v := c.create(ctx, s)
		ok(t, c.attach(ctx, v, n, "pod"))
		writeData(t, dataPath(n, v, "pod"), byte(i+1), mib)
		volumes = append(volumes, v)
	}
	return volumes
}

// exported is how many volumes the kernel's target offers now.
func exported(t *testing.T) int {
	t.Helper()
	links, err := filepath.Glob(filepath.Join(configFS, "ports/*/subsystems/*:csi-*"))
	ok(t, err)
	return len(links)
}

func release(t *testing.T) string {
	t.Helper()
	var name unix.Utsname
	ok(t, unix.Uname(&name))
	text := unix.ByteSliceToString(name.Release[:])
	if strings.HasPrefix(text, "6.1.") {
		return "6.1"
	}
	return "6.5" // and later: all that the tests tell apart
}

// A container has its own copy of the dead mount and keeps the old device's number taken: the volume
// comes back under another name, and the container is reported until it is gone.
func TestARunningContainerKeepsItsDeadCopy(t *testing.T) {
	ctx, c := t.Context(), newCluster(t)
	n := c.newNode("node-1")
	p := newProxy(t, c.array.portal())
	n.through(p)
	v := c.create(ctx, spec{name: "pvc-1", params: map[string]string{"ctrlLossTmo": "5", "reconnectDelay": "1"}})
	ok(t, c.attach(ctx, v, n, "pod"))
	writeData(t, dataPath(n, v, "pod"), 1, mib)
	before := blockDevices(t)
	container := exec.Command("unshare", "--mount", "--propagation", "private", "sleep", "1000")
	ok(t, container.Start())
	stop := func() {
		_ = container.Process.Kill()
		_ = container.Wait() // killed
	}
	defer stop()
	program.Await(t, "the container has its own mounts", func() bool { return ownMounts(container.Process.Pid) })
	p.cut()
	program.Await(t, "the kernel gives the device up", func() bool { return len(controllers(t)) == 0 })
	p.heal()
	back := time.Now()
	program.Await(t, "the volume is healed", func() bool { return n.is(healsSeries, 1) })
	if took := time.Since(back); took > healedWithin {
		t.Errorf("healed only after %s", took)
	}
	if after := blockDevices(t); after == before {
		t.Errorf("the device is %s as before: nothing was renumbered, and this shows nothing", after)
	} else {
		t.Logf("%s has become %s", before, after)
	}
	checkData(t, dataPath(n, v, "pod"), 1, mib)
	program.Await(t, "the dead copy is reported", func() bool {
		return n.is(staleSeries, 1) && strings.Contains(n.Stderr.String(), "a container still uses the dead copy")
	})
	stop()
	program.Await(t, "all is well", func() bool { return n.is(healthySeries, 1) && n.is(staleSeries, 0) })
	ok(t, c.detach(ctx, v, n, "pod"))
	ok(t, c.delete(ctx, v))
}

// ownMounts tells whether a process has a mount namespace of its own.
func ownMounts(pid int) bool {
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid))
	ours, ownErr := os.Readlink("/proc/self/ns/mnt")
	return err == nil && ownErr == nil && theirs != ours
}

// blockDevices are the NVMe disks in /dev.
func blockDevices(t *testing.T) string {
	t.Helper()
	nodes, err := filepath.Glob("/dev/nvme*n*")
	ok(t, err)
	return strings.Join(nodes, " ")
}

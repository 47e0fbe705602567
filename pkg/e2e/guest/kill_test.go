package guest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
)

const (
	killSize = 512 * mib // mkfs.xfs makes nothing below 300 MB
	killData = 4 * mib
	retryFor = 2 * time.Minute

	firstStage = "first stage"
	laterStage = "later stage"
	unstage    = "unstage"
)

// Whenever the node plugin is killed within NodeStage or NodeUnstage: once it runs again, the repeated call
// brings the volume to where it should be, mounted once and with its data, or gone without a trace. And
// what has data is never formatted.
func TestKilledAtAnyMoment(t *testing.T) {
	ctx, c := t.Context(), newCluster(t)
	k := newKills(t, c)
	fileSystems := []string{"ext4", "xfs", "ext4", "btrfs", "ext4"}
	for _, fs := range []string{"ext4", "xfs", "btrfs"} {
		k.measure(ctx, fs)
	}
	for life := 0; k.hits < k.wanted; life++ {
		if life == k.wanted {
			t.Fatalf("only %d of %d kills hit a call", k.hits, life*3)
		}
		k.life(ctx, fmt.Sprintf("pvc-%d", life), fileSystems[life%len(fileSystems)])
	}
	k.report()
}

// kills are kill -9 of the node plugin at random moments of calls.
type kills struct {
	t       *testing.T
	cluster *cluster
	node    *node
	random  *rand.Rand
	wanted  int // kills that hit a call which was running
	hits    int
	misses  int                      // kills after the call had ended
	took    map[string]time.Duration // calls that nobody disturbed
	parts   map[string][]float64     // of each call's time, where it is to be killed next
	left    map[string]int           // how often a kill left that on the node
}

func newKills(t *testing.T, c *cluster) *kills {
	seed := uint64(time.Now().UnixNano())
	if given := os.Getenv("RDS_E2E_SEED"); given != "" {
		var err error
		seed, err = strconv.ParseUint(given, 10, 64)
		ok(t, err)
	}
	t.Logf("RDS_E2E_SEED=%d makes the same choices again", seed)
	k := &kills{
		t: t, cluster: c, node: c.newNode("node-1"), random: rand.New(rand.NewPCG(seed, 0)), wanted: 15,
		took: map[string]time.Duration{}, parts: map[string][]float64{}, left: map[string]int{},
	}
	if os.Getenv("RDS_E2E_FULL") != "" {
		k.wanted = 50
	}
	return k
}

// measure finds out how long the calls take, and mkfs.
func (k *kills) measure(ctx context.Context, fs string) {
	k.t.Helper()
	c, n := k.cluster, k.node
	v := c.create(ctx, spec{name: "measured-" + fs, fs: fs, size: killSize})
	ok(k.t, c.publish(ctx, v, n))
	seen, begun := map[string]time.Time{}, time.Now()
	ended := k.begin(func() error { return n.stage(ctx, v) })
	k.wait(ended, func() bool {
		if record := k.record(); seen[record].IsZero() {
			seen[record] = time.Now()
		}
		return false
	})
	ok(k.t, <-ended)
	k.took[firstStage+" "+fs], k.took["mkfs "+fs] = time.Since(begun), seen["record formatted"].Sub(seen["record formatting"])
	begun = time.Now()
	ok(k.t, n.unstage(ctx, v))
	k.took[unstage+" "+fs], begun = time.Since(begun), time.Now()
	ok(k.t, n.stage(ctx, v))
	k.took[laterStage+" "+fs] = time.Since(begun)
	ok(k.t, n.unstage(ctx, v))
	ok(k.t, c.unpublish(ctx, v, n))
	ok(k.t, c.delete(ctx, v))
}

// begin makes a call beside the test.
func (k *kills) begin(call func() error) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- call() }()
	return ended
}

// wait is over with the call, or earlier when until says so.
func (k *kills) wait(ended <-chan error, until func() bool) {
	for len(ended) == 0 && !until() {
		time.Sleep(time.Millisecond)
	}
}

// life of a volume, with a kill in its first stage, in its unstage, and in a stage that finds its data.
func (k *kills) life(ctx context.Context, name, fs string) {
	k.t.Helper()
	t, c, n := k.t, k.cluster, k.node
	v := c.create(ctx, spec{name: name, fs: fs, size: killSize})
	ok(t, c.publish(ctx, v, n))
	k.strike(firstStage, v, func() error { return n.stage(ctx, v) })
	k.bring(ctx, v)
	ok(t, n.publish(ctx, v, "pod-1"))
	synced, dirty := filepath.Join(n.path(v, "pod-1"), "synced"), filepath.Join(n.path(v, "pod-1"), "dirty")
	writeData(t, synced, 1, killData)
	ok(t, os.WriteFile(dirty, content(2, killData), 0o600)) // the umount has to write it
	id := fsUUID(t, c.array.file(v))
	ok(t, n.unpublish(ctx, v, "pod-1"))

	k.strike(unstage, v, func() error { return n.unstage(ctx, v) })
	k.takeAway(ctx, v)

	k.strike(laterStage, v, func() error { return n.stage(ctx, v) })
	k.bring(ctx, v)
	ok(t, n.publish(ctx, v, "pod-2"))
	checkData(t, filepath.Join(n.path(v, "pod-2"), "synced"), 1, killData)
	checkData(t, filepath.Join(n.path(v, "pod-2"), "dirty"), 2, killData)
	if now := fsUUID(t, c.array.file(v)); now != id {
		t.Errorf("the file system was %s and is %s: somebody has made it anew", id, now)
	}
	if made, there := n.metric(`rds_csi_format_decisions_total{decision="formatted"}`); there && made > 0 {
		t.Errorf("mkfs ran on a volume with data")
	}
	ok(t, c.detach(ctx, v, n, "pod-2"))
	k.wantGone(v)
	ok(t, c.delete(ctx, v))
	if t.Failed() {
		t.FailNow()
	}
}

// bring repeats the stage as kubelet does, now and then after the pod was deleted and made again.
func (k *kills) bring(ctx context.Context, v *volume) {
	k.t.Helper()
	if k.random.IntN(3) == 0 {
		k.t.Logf("    and is unstaged, before it is staged again")
		k.takeAway(ctx, v)
	}
	retry(k.t, retryFor, func() error { return k.node.stage(ctx, v) })
	k.wantMountedOnce(v)
}

// takeAway repeats the unstage, which is allowed to be OK only when all is gone.
func (k *kills) takeAway(ctx context.Context, v *volume) {
	k.t.Helper()
	retry(k.t, retryFor, func() error { return k.node.unstage(ctx, v) })
	k.wantGone(v)
}

// strike begins the call, kills the plugin at a random moment of it, and starts it again.
func (k *kills) strike(name string, v *volume, call func() error) {
	k.t.Helper()
	key := name + " " + v.fs
	begun, ended := time.Now(), k.begin(call)
	part, within := k.part(name), ""
	if name == firstStage && k.random.IntN(2) == 0 { // mkfs is a small part of the call, and the worst one
		key, within = "mkfs "+v.fs, " mkfs of"
		k.wait(ended, func() bool { return k.record() == "record formatting" })
	}
	after, hit := time.Duration(part*float64(k.took[key])), true
	select {
	case err := <-ended:
		ok(k.t, err) // nothing was killed yet
		hit = false
	case <-time.After(after):
	}
	how := k.kill()
	if hit {
		select {
		case err := <-ended:
			hit = err != nil
		case <-time.After(retryFor):
			k.t.Fatalf("%s has not ended with the plugin", name)
		}
	}
	left := k.leftovers(v)
	k.t.Logf("%s of %s after %s of%s about %s, hit %t; left: %s", how, name+" "+v.fs,
		after.Round(time.Millisecond), within, k.took[key].Round(time.Millisecond), hit, left)
	if hit {
		k.hits++
		k.left[name+": "+left+how[strings.Index(how, ","):]]++
	} else {
		k.misses++
		k.took[name+" "+v.fs] = min(k.took[name+" "+v.fs], time.Since(begun))
	}
	k.node.start()
}

// part is where in a call's time the next kill comes: random, but one in each fifth before any comes twice.
func (k *kills) part(name string) float64 {
	const parts = 5
	if len(k.parts[name]) == 0 {
		for _, i := range k.random.Perm(parts) {
			k.parts[name] = append(k.parts[name], (float64(i)+k.random.Float64())/parts)
		}
	}
	next := k.parts[name][0]
	k.parts[name] = k.parts[name][1:]
	return next
}

// kill ends the plugin alone, or with the programs it runs, as when its container ends.
func (k *kills) kill() (how string) {
	k.t.Helper()
	programs := children(k.t, k.node.PID())
	names := slices.Sorted(maps.Values(programs))
	if k.random.IntN(2) == 0 {
		k.killWith(programs)
		return fmt.Sprintf("kill, together with %q", names)
	}
	k.killWith(nil)
	return fmt.Sprintf("kill, running on %q", names)
}

func (k *kills) killWith(programs map[int]string) {
	k.t.Helper()
	k.node.kill()
	for pid := range programs {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
	}
}

// children are the names of the processes that pid has started. They are in process groups of their own.
func children(t *testing.T, pid int) map[int]string {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // all of /proc takes too long to read
	ok(t, err)
	list := map[int]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil { // the thread has ended
			continue
		}
		for _, field := range strings.Fields(string(text)) {
			child, err := strconv.Atoi(field)
			ok(t, err)
			name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", child))
			if err == nil { // it has not ended
				list[child] = strings.TrimSpace(string(name))
			}
		}
	}
	return list
}

// leftovers says what a killed call has left.
func (k *kills) leftovers(v *volume) string {
	k.t.Helper()
	list := []string{k.record()}
	for _, line := range controllers(k.t) {
		list = append(list, "controller "+strings.Fields(line)[1])
	}
	if slices.Contains(mountsBelow(k.t, k.cluster.dir), k.node.staging(v)) {
		list = append(list, "mount")
	}
	return strings.Join(list, ", ")
}

// record says what the one stage record has.
func (k *kills) record() string {
	k.t.Helper()
	for _, file := range k.node.records() {
		text, err := os.ReadFile(file)
		if err != nil || filepath.Ext(file) != ".json" { // gone, or not yet one
			continue
		}
		var r stage.Record
		ok(k.t, json.Unmarshal(text, &r))
		switch {
		case !r.StagedAt.IsZero():
			return "record staged"
		case r.Format != stage.FormatNone:
			return "record " + string(r.Format)
		case r.Device != "":
			return "record connected"
		}
		return "record"
	}
	return "no record"
}

// wantMountedOnce: at the staging path, and nowhere else.
func (k *kills) wantMountedOnce(v *volume) {
	k.t.Helper()
	if mounts := mountsBelow(k.t, k.cluster.dir); !slices.Equal(mounts, []string{k.node.staging(v)}) {
		k.t.Errorf("%s is mounted at %q", v.name, mounts)
	}
	table, err := host.NewMounts().Table()
	ok(k.t, err)
	var nvme []string
	for _, m := range table {
		if strings.HasPrefix(m.Source, "/dev/nvme") {
			nvme = append(nvme, m.Source+" at "+m.Path)
		}
	}
	if list := controllers(k.t); len(list) != 1 || len(nvme) != 1 || len(k.node.records()) != 1 {
		k.t.Errorf("%s has controllers %q, mounts %q, records %q", v.name, list, nvme, k.node.records())
	}
}

func (k *kills) wantGone(v *volume) {
	k.t.Helper()
	left := slices.Concat(controllers(k.t), mountsBelow(k.t, k.cluster.dir), k.node.records())
	if _, err := os.Lstat(k.node.staging(v)); err == nil {
		left = append(left, k.node.staging(v))
	}
	if len(left) > 0 {
		k.t.Errorf("%s is unstaged, and there is still %q", v.name, left)
	}
}

// report fails the test where the moments were not what it is about.
func (k *kills) report() {
	k.t.Logf("%d kills hit a running call, %d came too late", k.hits, k.misses)
	for _, left := range slices.Sorted(maps.Keys(k.left)) {
		k.t.Logf("%3d × %s", k.left[left], left)
	}
	if k.misses > k.hits {
		k.t.Error("most kills came after the call")
	}
	if len(k.left) < 4 {
		k.t.Errorf("the kills left only %d different states", len(k.left))
	}
}

// fsUUID is what blkid finds in the volume's file on the array.
func fsUUID(t *testing.T, file string) string {
	t.Helper()
	out, err := exec.Command("blkid", "-p", "-s", "UUID", "-o", "value", file).Output()
	ok(t, err)
	id := strings.TrimSpace(string(out))
	if id == "" {
		t.Fatalf("%s has no file system", file)
	}
	return id
}

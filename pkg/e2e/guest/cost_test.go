package guest

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
)

const (
	costPairs = 10
	costTries = 3
	costSize  = 10 * 1024 * mib // what a claim usually asks for
)

// What the driver adds to the steps that nobody can do without: connect, mkfs, mount. The guest shares its two
// processors with the array and with whatever else its host does: what is over the limit is measured again.
func TestWhatNodeStageCosts(t *testing.T) {
	limit := 1.5 // of CI, where the guest is noisy
	if full() {
		limit = 1.3
	}
	c := newCluster(t)
	n := c.newNode("node-1", "--log-level=info") // the default; the other tests want details
	for name, formatted := range map[string]bool{"fresh": false, "formatted": true} {
		t.Run(name, func(t *testing.T) {
			best := math.Inf(1)
			for try := 1; try <= costTries && best > limit; try++ {
				best = min(best, c.costs(t, n, fmt.Sprint(name, "-", try), formatted))
			}
			if best > limit {
				t.Errorf("NodeStage of a %s volume takes %.2f times the bare steps, want %.1f; where the time went:\n%s", name, best, limit, n.durations())
			}
		})
	}
}

// costs is how many times longer NodeStage takes than its bare steps. The pairs are interleaved, so that both
// halves meet the same noise.
func (c *cluster) costs(t *testing.T, n *node, name string, formatted bool) float64 {
	t.Helper()
	ctx := t.Context()
	var ours, bare []time.Duration
	for i := range costPairs {
		pair := [2]*volume{}
		for j, half := range []string{"ours", "bare"} {
			v := c.create(ctx, spec{name: fmt.Sprintf("%s-%d-%s", name, i, half), size: costSize})
			ok(t, c.publish(ctx, v, n))
			if formatted {
				ok(t, n.stage(ctx, v))
				ok(t, n.unstage(ctx, v))
			}
			pair[j] = v
		}
		ours = append(ours, c.timed(ctx, t, pair[0], n))
		bare = append(bare, bareSteps(t, pair[1], n, !formatted))
		for _, v := range pair {
			ok(t, c.unpublish(ctx, v, n))
			ok(t, c.delete(ctx, v))
		}
	}
	ratio := median(ours).Seconds() / median(bare).Seconds()
	t.Logf("medians of %d interleaved pairs: NodeStage %s, bare steps %s, ratio %.2f",
		costPairs, median(ours).Round(time.Millisecond), median(bare).Round(time.Millisecond), ratio)
	return ratio
}

// timed stages a volume, and takes it down again.
func (c *cluster) timed(ctx context.Context, t *testing.T, v *volume, n *node) time.Duration {
	t.Helper()
	start := time.Now()
	ok(t, n.stage(ctx, v))
	took := time.Since(start)
	ok(t, n.unstage(ctx, v))
	return took
}

// bareSteps does to a volume what cannot be left out, with nothing looked at: write to /dev/nvme-fabrics
// until the device is there, mkfs as the driver does it, mount.
func bareSteps(t *testing.T, v *volume, n *node, mkfs bool) time.Duration {
	t.Helper()
	published := v.published[n.name]
	_, u, _ := strings.Cut(n.id, "/")
	target := t.TempDir()
	start := time.Now()
	answer, err := host.NewFabrics("/dev/nvme-fabrics").Create(fmt.Sprintf(
		"transport=tcp,traddr=%s,trsvcid=%s,nqn=%s,hostnqn=nqn.2014-08.org.nvmexpress:uuid:%s,hostid=%s,nr_io_queues=%s,keep_alive_tmo=5,reconnect_delay=2,ctrl_loss_tmo=-1",
		published["nvmeAddress"], published["nvmePort"], published["nqn"], u, u, published["nrIoQueues"]))
	ok(t, err)
	device := awaitDisk(t)
	if mkfs {
		out, err := exec.Command("mkfs.ext4", append(mount.MkfsArguments("ext4"), device)...).CombinedOutput()
		if err != nil {
			t.Fatalf("mkfs: %v: %s", err, out)
		}
	}
	ok(t, unix.Mount(device, target, "ext4", 0, ""))
	took := time.Since(start)
	ok(t, unix.Unmount(target, 0))
	name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(answer), "instance="), ",")
	write(t, filepath.Join("/sys/class/nvme/nvme"+name, "delete_controller"), "1")
	return took
}

// awaitDisk is the only NVMe disk there is, as soon as it is there.
func awaitDisk(t *testing.T) string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if nodes, _ := filepath.Glob("/dev/nvme*n1"); len(nodes) == 1 {
			if f, err := os.Open(nodes[0]); err == nil {
				ok(t, f.Close())
				return nodes[0]
			}
		}
	}
	t.Fatal("the disk never came")
	return ""
}

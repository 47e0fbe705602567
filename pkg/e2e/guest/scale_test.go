package guest

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
)

// An attach must not grow slower with the number of volumes that are attached (longhorn#13816).
func TestManyVolumesOnOneNode(t *testing.T) {
	ctx, c := t.Context(), newCluster(t)
	n := c.newNode("node-1")
	count := 40
	if full() {
		count = 100
	}
	var volumes []*volume
	for i := range count {
		v := c.create(ctx, spec{name: fmt.Sprintf("pvc-%d", i), size: 32 * mib, params: map[string]string{"nrIoQueues": "1"}})
		ok(t, c.publish(ctx, v, n))
		volumes = append(volumes, v)
	}
	var took []time.Duration
	for _, v := range volumes {
		start := time.Now()
		ok(t, n.stage(ctx, v))
		took = append(took, time.Since(start))
	}
	first, last := median(took[:10]), median(took[count-10:])
	ratio := last.Seconds() / first.Seconds()
	t.Logf("%d volumes of 32 MiB, nrIoQueues 1, %s of memory: the median NodeStage of the first ten took %s, of the last ten %s, ratio %.2f",
		count, memory(t), first.Round(time.Millisecond), last.Round(time.Millisecond), ratio)
	if ratio > 1.5 {
		t.Errorf("NodeStage grew slower with the number of volumes, by %.2f", ratio)
	}
	program.Await(t, "all are healthy", func() bool { return n.is(healthySeries, float64(count)) })
	t.Logf("looking after them takes %.1f %% of a processor of this guest", 100*n.idleLoad(20*time.Second))
	for _, v := range volumes {
		ok(t, n.unstage(ctx, v))
		ok(t, c.unpublish(ctx, v, n))
	}
}

func median(took []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(took))
	return sorted[len(sorted)/2]
}

func memory(t *testing.T) string {
	t.Helper()
	info, err := os.ReadFile("/proc/meminfo")
	ok(t, err)
	line, _, _ := strings.Cut(string(info), "\n")
	return strings.Join(strings.Fields(line)[1:], " ")
}

// idleLoad is how much of a processor the plugin uses while no call is made.
func (n *node) idleLoad(over time.Duration) float64 {
	n.t.Helper()
	before := n.cpu()
	<-time.After(over)
	return (n.cpu() - before).Seconds() / over.Seconds()
}

// cpu is the time the plugin has computed, user and system (proc_pid_stat(5)).
func (n *node) cpu() time.Duration {
	n.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.PID()))
	ok(n.t, err)
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	var ticks int
	for _, i := range []int{11, 12} {
		v, err := strconv.Atoi(fields[i])
		ok(n.t, err)
		ticks += v
	}
	return time.Duration(ticks) * time.Second / 100 // USER_HZ
}

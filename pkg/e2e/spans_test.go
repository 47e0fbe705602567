package e2e

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/goldentest"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry/otlptest"
)

// What a trace of a node's calls looks like where the programs are real: with a span for each that is run.
func TestSpanTreesWithRealPrograms(t *testing.T) {
	needRoot(t)
	dir, _ := leavesNothing(t)
	arrayDir := filepath.Join(dir, "array")
	array, r := startArray(t, rdssim.Options{Dir: arrayDir}), otlptest.StartReceiver(t)
	env := append(r.Environment(), "OTEL_BSP_SCHEDULE_DELAY=50")
	n := startLoopNode(t, env, arrayDir, dir, append([]string{"--controller"}, array.DriverFlags()...)...)
	var lines []string
	var seen []string // ids
	call := func(title, method string, call func() error) {
		t.Helper()
		if err := call(); err != nil {
			t.Fatalf("%s: %v", title, err)
		}
		var tree []string
		program.Await(t, title+": its trace", func() bool {
			id := r.Newest(method)
			news := id != "" && !slices.Contains(seen, id)
			seen, tree = append(seen, id), r.Tree(method)
			return news
		})
		lines = append(append(append(lines, "# "+title), tree...), "")
	}
	for _, fs := range []string{"ext4", "xfs"} {
		v := n.published(t, fs, n.id)
		v.capability.AccessType = &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: fs}}
		const stage, unstage = "csi.v1.Node/NodeStageVolume", "csi.v1.Node/NodeUnstageVolume"
		call("NodeStageVolume of a fresh volume, "+fs, stage, func() error { return n.stage(program.Soon(t), v) })
		call("NodeUnstageVolume, "+fs, unstage, func() error { return n.unstage(program.Soon(t), v) })
		call("NodeStageVolume of a formatted volume, "+fs, stage, func() error { return n.stage(program.Soon(t), v) })
		call("NodeUnstageVolume again, "+fs, unstage, func() error { return n.unstage(program.Soon(t), v) })
	}
	goldentest.Compare(t, filepath.Join("testdata", "spans-loop.txt"), strings.Join(lines, "\n")+"\n")
}

package e2e

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
)

// scrapeLimit is the telemetry contract's.
const scrapeLimit = 50 * time.Millisecond

// scrapesFast wants a scrape within the limit, and gives the page. A scrape that waits for something waits
// each time, and a busy machine delays some only: the best of ten counts.
func scrapesFast(t *testing.T, when string, s *service) (page string) {
	t.Helper()
	best := time.Hour
	for range 10 {
		start := time.Now()
		page = get(t, s.metrics+"/metrics", http.StatusOK)
		best = min(best, time.Since(start))
	}
	t.Logf("%s: best of ten scrapes %s, %d bytes", when, best.Round(10*time.Microsecond), len(page))
	if best > scrapeLimit {
		t.Errorf("%s: the best of ten scrapes took %s, limit %s", when, best, scrapeLimit)
	}
	return page
}

func wantsSeries(t *testing.T, page string, series ...string) {
	t.Helper()
	for _, s := range series {
		if !strings.Contains(page, "\n"+s) {
			t.Errorf("the page lacks %s", s)
		}
	}
}

// lacksSeries wants no series of these families; what says that a family exists may be there.
func lacksSeries(t *testing.T, page string, families ...string) {
	t.Helper()
	for line := range strings.Lines(page) {
		for _, f := range families {
			if strings.HasPrefix(line, f) {
				t.Errorf("the page has %s", line)
			}
		}
	}
}

// An array that takes the connection, and then nothing more, hangs whoever asks it.
func TestAScrapeDuringAHungArray(t *testing.T) {
	t.Parallel()
	hangs := func(t *testing.T) *service {
		array := startArray(t, rdssim.Options{})
		if err := array.Inject(rdssim.Fault{Kind: rdssim.Hang, Count: -1}); err != nil {
			t.Fatal(err)
		}
		return startController(t, array, nil)
	}
	blackHole := func(t *testing.T) *service {
		array, hole := startArray(t, rdssim.Options{}), silent(t)
		host, port, err := net.SplitHostPort(hole)
		if err != nil {
			t.Fatal(err)
		}
		return startController(t, array, nil, "--rds-address="+host, "--rds-port="+port)
	}
	for name, start := range map[string]func(*testing.T) *service{"console hangs": hangs, "black hole": blackHole} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			go func() { _, _ = csi.NewControllerClient(s.conn).CreateVolume(t.Context(), createRequest("a")) }() // ends with the test
			const under = `rds_csi_volume_operations_in_flight{operation="create"} 1`
			program.Await(t, "a call is under way", func() bool {
				return strings.Contains(get(t, s.metrics+"/metrics", http.StatusOK), under)
			})
			page := scrapesFast(t, "a call hangs", s)
			wantsSeries(t, page, under)
			lacksSeries(t, page, "rds_csi_backend_up", "rds_csi_backend_refresh", "rds_csi_pool_", "rds_csi_volumes{")
			program.Await(t, "the look ran out of time", func() bool {
				return strings.Contains(get(t, s.metrics+"/metrics", http.StatusOK), `rds_csi_backend_up{array="rds"} 0`)
			})
			page = scrapesFast(t, "the array is known to be away", s)
			lacksSeries(t, page, "rds_csi_backend_refresh", "rds_csi_pool_", "rds_csi_volumes{")
		})
	}
}

// silent takes connections and says nothing.
func silent(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var taken []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			taken = append(taken, conn)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
		for _, conn := range taken {
			_ = conn.Close()
		}
	})
	return l.Addr().String()
}

// A volume's file lies on a file system that is frozen, so its device answers nothing that writes: umount
// hangs in the kernel.
func TestAScrapeDuringAHungMount(t *testing.T) {
	needRoot(t)
	dir, leftNothing := leavesNothing(t)
	disk := newFrozenDisk(t, dir)
	array := startArray(t, rdssim.Options{Dir: filepath.Join(disk.path, "array")})
	n := startLoopNode(t, nil, filepath.Join(disk.path, "array"), dir, append([]string{"--controller"}, array.DriverFlags()...)...)
	v := n.published(t, "a", n.id)
	if err := n.stage(program.Soon(t), v); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(n.staging(v), "data"), make([]byte, 8<<20), 0o600); err != nil { // to be written back
		t.Fatal(err)
	}
	disk.freeze(t)
	unstaged := make(chan error, 1)
	ctx := program.Soon(t)
	go func() { unstaged <- n.unstage(ctx, v) }()
	const under = `rds_csi_volume_operations_in_flight{operation="unstage"} 1`
	program.Await(t, "the umount hangs", func() bool {
		return unmounts(t, n.PID()) && strings.Contains(get(t, n.metrics+"/metrics", http.StatusOK), under)
	})
	page := scrapesFast(t, "an umount hangs", n.service)
	wantsSeries(t, page, under, "rds_csi_mount_check_time_seconds", `rds_csi_nvme_controllers{state="live"} 0`)
	select {
	case err := <-unstaged:
		t.Errorf("the umount hung for no scrape: NodeUnstageVolume ended with %v", err)
	default:
	}
	disk.thaw(t)
	if err := <-unstaged; err != nil {
		t.Errorf("after the disk was back: %v", err)
	}
	n.Kill(t)
	if err := array.Close(); err != nil {
		t.Error(err)
	}
	disk.remove(t)
	for _, name := range []string{"staging", "plugin"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	leftNothing()
}

// unmounts tells whether a thread of a process is taking a file system down: the kernel does that at the end
// of umount(2), on the way back to the program.
func unmounts(t *testing.T, pid int) bool {
	t.Helper()
	stacks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stack", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range stacks {
		if stack, err := os.ReadFile(file); err == nil && strings.Contains(string(stack), "generic_shutdown_super") {
			return true
		}
	}
	return false
}

// The requests of ioctl_fs (uapi/linux/fs.h: _IOWR('X', 119, int) and 120), which x/sys does not have.
const (
	fiFreeze = 0xc0045877
	fiThaw   = 0xc0045878
)

// frozenDisk is a file system that can stop.
type frozenDisk struct {
	path, image string
	frozen      bool
}

func newFrozenDisk(t *testing.T, dir string) *frozenDisk {
	t.Helper()
	d := &frozenDisk{path: filepath.Join(dir, "disk"), image: filepath.Join(dir, "disk.img")}
	err := errors.Join(os.Mkdir(d.path, 0o755), os.WriteFile(d.image, nil, 0o600), os.Truncate(d.image, 4<<30))
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"mkfs.ext4", "-q", "-F", d.image}, {"mount", "-o", "loop", d.image, d.path}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	return d
}

// freeze ends with the test, before all else does: what hangs on it cannot be killed.
func (d *frozenDisk) freeze(t *testing.T) {
	t.Helper()
	d.control(t, fiFreeze)
	d.frozen = true
	t.Cleanup(func() {
		if d.frozen {
			d.thaw(t)
		}
	})
}

func (d *frozenDisk) thaw(t *testing.T) {
	t.Helper()
	d.control(t, fiThaw)
	d.frozen = false
}

func (d *frozenDisk) control(t *testing.T, request uint) {
	t.Helper()
	f, err := os.Open(d.path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.IoctlSetInt(int(f.Fd()), request, 0); err != nil {
		t.Fatalf("ioctl %x on %s: %v", request, d.path, err)
	}
}

func (d *frozenDisk) remove(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("umount", d.path).CombinedOutput(); err != nil {
		t.Errorf("umount %s: %v: %s", d.path, err, out)
	}
	if err := errors.Join(os.Remove(d.path), os.Remove(d.image)); err != nil {
		t.Error(err)
	}
}

// 1,000 volumes on the array, and 1,000 on the node that have all lost their device, so that its loop counts
// them and tries to heal one after the other.
func TestAScrapeWithAThousandVolumes(t *testing.T) {
	t.Parallel()
	const many = 1000
	dir := t.TempDir()
	arrayDir := filepath.Join(dir, "array")
	array := startArray(t, rdssim.Options{Dir: arrayDir, Pools: []rdssim.Pool{{Name: "storage-pool", FS: "btrfs", Size: 8 << 40}}})
	first := startController(t, array, nil)
	first.createMany(t, "pvc-", many)
	first.Kill(t)
	n := startLoopNode(t, nil, arrayDir, dir, append([]string{"--controller"}, array.DriverFlags()...)...)
	loseVolumes(t, dir, n.id, n.published(t, "pvc-0", n.id), many)
	const onArray, onNode = `rds_csi_volumes{array="rds",state="managed"} 1000`, `rds_csi_mounts{state="stale"} 1000`
	program.Await(t, "the loops have seen them all", func() bool {
		page := get(t, n.metrics+"/metrics", http.StatusOK)
		return strings.Contains(page, onArray) && strings.Contains(page, onNode)
	})
	page := scrapesFast(t, "1,000 volumes", n.service)
	wantsSeries(t, page, onArray, onNode, "rds_csi_pool_provisioned_bytes", "rds_csi_nvme_controllers")
}

// loseVolumes writes the node's records of so many raw block volumes, of which nothing is attached. They are
// as the node writes them, with what v's publish gave.
func loseVolumes(t *testing.T, dir, nodeID string, v *loopVolume, many int) {
	t.Helper()
	_, u, _ := strings.Cut(nodeID, "/")
	boot, err := host.BootID()
	if err != nil {
		t.Fatal(err)
	}
	records, err := stage.Open(filepath.Join(dir, "plugin", "stage"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range many {
		slot := fmt.Sprintf("csi-%028x", i)
		r := &stage.Record{
			VolumeID: "rds/" + slot, NQN: "nqn.2000-02.com.mikrotik:" + slot + ".0a0b0c0d", HostNQN: "nqn.2014-08.org.nvmexpress:uuid:" + u,
			Context: maps.Clone(v.context), StagingPath: filepath.Join(dir, "staging", slot), Block: true, BootID: boot, StagedAt: time.Now(),
		}
		r.Context["nqn"] = r.NQN
		if err := records.Save(r); err != nil {
			t.Fatal(err)
		}
	}
}

package nvmetest

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

// HostNQN and HostID are those of the node under test.
const (
	HostNQN = "nqn.2014-08.org.nvmexpress:uuid:" + HostID
	HostID  = "11111111-2222-5333-8444-555555555555"
)

// Options choose the kernel.
type Options struct {
	Multipath        bool     // nvme_core.multipath=Y
	SingleController bool     // the target's CMIC has no multi-controller bit
	Known            []string // options listed by /dev/nvme-fabrics; nil = those of Linux 6.1
	NoList           bool     // too old to list them: EINVAL
	StrictHostID     bool     // Linux 6.5 and later: one host ID for each host NQN, and one host NQN for each ID
	NoModule         bool     // nvme-fabrics is not loaded until modprobe
	DelayedRemoval   bool     // Linux 6.16 and later: a head can outlive its last controller
	Queues           int      // I/O queues that the target grants at most; 0 = as many as asked
}

// Subsystem is what the target exports.
type Subsystem struct {
	NQN        string
	Hosts      []string // none = any
	Size       uint64   // bytes of each namespace
	Namespaces int      // 0 = 1
}

// Kernel is the fake. It stands for one machine and for the targets it can reach.
type Kernel struct {
	t    testing.TB
	root string
	opts Options

	mu          sync.Mutex
	exports     map[string]Subsystem
	listeners   map[nvme.Portal]net.Listener
	ids         map[int]int // users of an instance number: a controller, its subsystem
	minors      map[uint32]bool
	subsystems  map[string]*subsystem
	controllers map[string]*controller
	mounts      []host.MountPoint
	held        map[string]bool        // by path: open with O_EXCL
	lies        map[string]host.DevNum // by path: st_rdev that is not sysfs's
	createErrs  []error
	creates     []string
	writes      []string
	running     int
	peak        int
	watchers    map[*watcher]bool
	buried      int // directories in graves

	createGate, deviceGate, deleteGate gate
	background                         sync.WaitGroup
}

// NewKernel boots a machine. It ends with the test.
func NewKernel(t testing.TB, o Options) *Kernel {
	t.Helper()
	k := &Kernel{
		t: t, root: t.TempDir(), opts: o,
		exports: map[string]Subsystem{}, listeners: map[nvme.Portal]net.Listener{}, ids: map[int]int{},
		minors: map[uint32]bool{}, subsystems: map[string]*subsystem{}, controllers: map[string]*controller{},
		held: map[string]bool{}, lies: map[string]host.DevNum{}, watchers: map[*watcher]bool{},
	}
	k.mkdir("sys/class/block", "sys/block", "sys/dev/block", "sys/devices/virtual", "dev", "graves")
	if !o.NoModule {
		k.loadModule()
	}
	t.Cleanup(k.shutdown)
	return k
}

func (k *Kernel) loadModule() {
	k.mkdir("sys/class/nvme", "sys/class/nvme-subsystem", "sys/devices/virtual/nvme-fabrics/ctl", "sys/devices/virtual/nvme-subsystem")
	k.put("dev/nvme-fabrics", "")
}

func (k *Kernel) shutdown() {
	k.createGate.open()
	k.deviceGate.open()
	k.deleteGate.open()
	k.mu.Lock()
	for _, l := range k.listeners {
		l.Close()
	}
	k.mu.Unlock()
	k.background.Wait()
}

// Config makes a Host run on this kernel.
func (k *Kernel) Config() nvme.Config {
	return nvme.Config{
		HostNQN: HostNQN, Sys: k.path("sys"), Dev: k.path("dev"),
		Fabrics: k, Attributes: k, Devices: k, Mounts: k, Runner: k, Events: k.watch,
	}
}

// AddPortal makes the target listen at one more address of its own.
func (k *Kernel) AddPortal() nvme.Portal {
	k.t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.listen(nvme.Portal{Address: "127.0.0.1"})
}

// listen listens at p, on any port where p has none.
func (k *Kernel) listen(p nvme.Portal) nvme.Portal {
	k.t.Helper()
	l, err := net.Listen("tcp", p.String())
	if err != nil {
		k.t.Fatal(err)
	}
	k.background.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	})
	p.Port = l.Addr().(*net.TCPAddr).Port
	k.listeners[p] = l
	return p
}

// Silence makes the portal refuse connections.
func (k *Kernel) Silence(p nvme.Portal) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.listeners[p].Close()
	delete(k.listeners, p)
}

// Listen makes a silenced portal accept connections again.
func (k *Kernel) Listen(p nvme.Portal) {
	k.t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.listen(p)
}

// Export makes the target offer a subsystem, or offer it otherwise.
func (k *Kernel) Export(s Subsystem) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.exports[s.NQN] = s
}

// Unexport refuses the next connect. Controllers that are there stay (vm.md 9).
func (k *Kernel) Unexport(nqn string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.exports, nqn)
}

// Resize grows the namespace at the target. The machine sees it after a rescan.
func (k *Kernel) Resize(nqn string, size uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.exports[nqn]
	s.Size = size
	k.exports[nqn] = s
}

func (k *Kernel) path(rel string) string { return filepath.Join(k.root, rel) }

func (k *Kernel) mkdir(rels ...string) {
	for _, rel := range rels {
		k.must(os.MkdirAll(k.path(rel), 0o755))
	}
}

func (k *Kernel) put(rel, value string) {
	k.must(os.WriteFile(k.path(rel), []byte(value+"\n"), 0o644))
}

// replace changes an attribute in one step, as a reader of sysfs never sees half a value.
func (k *Kernel) replace(rel, value string) {
	k.put(rel+".new", value)
	k.must(os.Rename(k.path(rel+".new"), k.path(rel)))
}

func (k *Kernel) link(rel, to string) {
	target, err := filepath.Rel(filepath.Dir(k.path(rel)), k.path(to))
	k.must(err)
	k.must(os.Symlink(target, k.path(rel)))
}

// remove keeps the empty directory of a device elsewhere: kernfs gives the number of one to no other, where the
// file systems below a fake would.
func (k *Kernel) remove(rel string) {
	if info, err := os.Lstat(k.path(rel)); err != nil || !info.IsDir() {
		k.must(os.RemoveAll(k.path(rel)))
		return
	}
	grave := k.path("graves/" + strconv.Itoa(k.buried))
	k.buried++
	k.must(os.Rename(k.path(rel), grave))
	entries, err := os.ReadDir(grave)
	k.must(err)
	for _, e := range entries {
		k.must(os.RemoveAll(filepath.Join(grave, e.Name())))
	}
}

func (k *Kernel) must(err error) {
	if err != nil {
		k.t.Errorf("fake kernel: %v", err)
	}
}

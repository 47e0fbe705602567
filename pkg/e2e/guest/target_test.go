package guest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/google/uuid"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme/nvmetest"
)

const (
	configFS    = "/sys/kernel/config/nvmet"
	nvmePort    = 4420
	keepAliveID = "nqn.test:listen" // without a namespace: the kernel listens while something is linked
)

// target drives the kernel's NVMe target directly. It is an nvmetest.Array: no simulated array, so that
// what the connector does is seen alone. The tests share the kernel, so each has one, and only one.
type target struct {
	t       *testing.T
	dir     string // of the backing files
	mu      sync.Mutex
	exports map[string]nvmetest.Subsystem
	cntlid  int
}

// newTarget listens on every address. All is taken down at the end of the test.
func newTarget(t *testing.T) *target {
	t.Helper()
	g := &target{t: t, dir: t.TempDir(), exports: map[string]nvmetest.Subsystem{}, cntlid: 1}
	t.Cleanup(g.close)
	port := g.path("ports", strconv.Itoa(nvmePort))
	g.mkdir(port)
	for name, value := range map[string]string{
		"addr_adrfam": "ipv4", "addr_trtype": "tcp", "addr_traddr": "0.0.0.0", "addr_trsvcid": strconv.Itoa(nvmePort),
	} {
		write(t, filepath.Join(port, name), value)
	}
	g.mkdir(g.subsystem(keepAliveID))
	g.link(g.subsystem(keepAliveID), g.linked(keepAliveID))
	return g
}

func (g *target) portal() nvme.Portal { return nvme.Portal{Address: "127.0.0.1", Port: nvmePort} }

func (g *target) path(parts ...string) string {
	return filepath.Join(append([]string{configFS}, parts...)...)
}

func (g *target) subsystem(nqn string, parts ...string) string {
	return g.path(append([]string{"subsystems", nqn}, parts...)...)
}

func (g *target) linked(nqn string) string {
	return g.path("ports", strconv.Itoa(nvmePort), "subsystems", nqn)
}

func (g *target) file(nqn string) string { return filepath.Join(g.dir, nqn) }

// Export makes the subsystem with namespaces on sparse files, and links it to the port last.
func (g *target) Export(s nvmetest.Subsystem) {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.exports[s.NQN] = s
	g.mkdir(g.subsystem(s.NQN))
	// A second controller after a new link would else be EINVAL (vm.md, the end).
	write(g.t, g.subsystem(s.NQN, "attr_cntlid_min"), strconv.Itoa(g.cntlid))
	g.cntlid += 32
	if len(s.Hosts) == 0 {
		write(g.t, g.subsystem(s.NQN, "attr_allow_any_host"), "1")
	}
	for _, host := range s.Hosts {
		g.mkdir(g.path("hosts", host))
		g.link(g.path("hosts", host), g.subsystem(s.NQN, "allowed_hosts", host))
	}
	for n := range max(s.Namespaces, 1) {
		g.namespace(s, n+1)
	}
	g.link(g.subsystem(s.NQN), g.linked(s.NQN))
}

func (g *target) namespace(s nvmetest.Subsystem, number int) {
	g.t.Helper()
	file := g.file(s.NQN) + "." + strconv.Itoa(number)
	g.truncate(file, s.Size)
	dir := g.subsystem(s.NQN, "namespaces", strconv.Itoa(number))
	g.mkdir(dir)
	write(g.t, filepath.Join(dir, "device_path"), file)
	write(g.t, filepath.Join(dir, "device_uuid"), uuid.NewString())
	write(g.t, filepath.Join(dir, "buffered_io"), "1") // tmpfs has no direct I/O
	write(g.t, filepath.Join(dir, "enable"), "1")
}

// Unexport takes every host off the list, as the contract wants it: controllers stay, the next connect is
// refused (vm.md "What the kernel did" 9).
func (g *target) Unexport(nqn string) {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	write(g.t, g.subsystem(nqn, "attr_allow_any_host"), "0")
	g.denyAll(nqn)
}

// Resize grows the files and tells the kernel.
func (g *target) Resize(nqn string, size uint64) {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	for n := range max(g.exports[nqn].Namespaces, 1) {
		number := strconv.Itoa(n + 1)
		g.truncate(g.file(nqn)+"."+number, size)
		write(g.t, g.subsystem(nqn, "namespaces", number, "revalidate_size"), "1")
	}
}

// withdraw cuts the sessions and takes the subsystem down.
func (g *target) withdraw(nqn string) {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.remove(g.linked(nqn))
	g.denyAll(nqn)
	for n := range max(g.exports[nqn].Namespaces, 1) {
		g.remove(g.subsystem(nqn, "namespaces", strconv.Itoa(n+1)))
		g.remove(g.file(nqn) + "." + strconv.Itoa(n+1))
	}
	g.remove(g.subsystem(nqn))
	delete(g.exports, nqn)
}

func (g *target) denyAll(nqn string) {
	g.t.Helper()
	hosts, err := os.ReadDir(g.subsystem(nqn, "allowed_hosts"))
	g.must(err)
	for _, host := range hosts {
		g.remove(g.subsystem(nqn, "allowed_hosts", host.Name()))
	}
}

func (g *target) close() {
	for nqn := range g.exports {
		g.withdraw(nqn)
	}
	g.remove(g.linked(keepAliveID))
	g.remove(g.subsystem(keepAliveID))
	g.remove(g.path("ports", strconv.Itoa(nvmePort)))
	hosts, err := os.ReadDir(g.path("hosts"))
	g.must(err)
	for _, host := range hosts {
		g.remove(g.path("hosts", host.Name()))
	}
}

func (g *target) truncate(file string, size uint64) {
	g.t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = errors.Join(f.Truncate(int64(size)), f.Close())
	}
	g.must(err)
}

func (g *target) mkdir(path string) {
	g.t.Helper()
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		g.t.Error(err)
	}
}

func (g *target) link(to, path string) {
	g.t.Helper()
	g.must(os.Symlink(to, path))
}

func (g *target) remove(path string) {
	g.t.Helper()
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		g.t.Error(err)
	}
}

func (g *target) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Error(err)
	}
}

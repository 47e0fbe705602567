package driver

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	nooptrace "go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount/mounttest"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme/nvmetest"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// machine is a node: the two strict kernels, which stand for one. What connects, and what is
// behind a device, is what the simulated array exports at that moment.
type machine struct {
	*server // the node driver that runs on it now
	t       testing.TB
	array   *array
	nvme    *nvmetest.Kernel
	mounts  *mounttest.Kernel
	id      NodeID
	portal  nvme.Portal // where this machine reaches the array
	dir     string      // kubelet's, plugin's
	bootID  string      // of the kernel
	devDir  string      // of the NVMe kernel; the mount kernel calls it /dev
	effects *effects
	options []grpc.ServerOption       // of its node driver
	watch   func(Transport) Transport // stands between the driver and NVMe; nil: nothing does
	// deviceTimeout bounds the wait for a device or its new size, from the next boot on.
	deviceTimeout time.Duration
	kubernetes    Attachments // nil: no API server
	grace         time.Duration
	events        Events // nil: nobody is told

	mu       sync.Mutex
	exported map[string]export // by NQN: what was exported when last looked, and what has been
	attached map[string]attachedDisk
	revoked  map[string]bool // NQNs whose disks may be taken from their users
	mirrored []host.MountPoint
}

type attachedDisk struct {
	num host.DevNum
	nqn string
}

func newMachine(t testing.TB, a *array, name string, options ...grpc.ServerOption) *machine {
	t.Helper()
	id, err := NewNodeID(testDriver, testCluster, name, "machine of "+name)
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{
		t: t, array: a, id: id, dir: t.TempDir(), bootID: "first boot", effects: &effects{}, deviceTimeout: 20 * time.Second, grace: time.Nanosecond, options: options,
		nvme: nvmetest.NewKernel(t, nvmetest.Options{}), mounts: mounttest.New(t),
		exported: map[string]export{}, attached: map[string]attachedDisk{}, revoked: map[string]bool{},
	}
	m.portal, m.devDir = m.nvme.AddPortal(), m.nvme.Config().Dev
	m.boot()
	return m
}

// boot starts the node driver anew on whatever is on the machine.
func (m *machine) boot() {
	m.t.Helper()
	if m.server != nil {
		m.stop()
	}
	m.server = serve(m.t, nil, m.config(), m.options...)
}

func (m *machine) config() *NodeConfig {
	m.t.Helper()
	cfg := m.nvme.Config()
	cfg.HostNQN = m.id.HostNQN()
	cfg.Fabrics, cfg.Attributes, cfg.Devices, cfg.Mounts = fabricsSeam{m}, attributesSeam{m}, nvmeDevicesSeam{m}, mountsSeam{m}
	cfg.DeviceTimeout = m.deviceTimeout
	h, err := nvme.New(cfg)
	if err != nil {
		m.t.Fatal(err)
	}
	records, err := stage.Open(m.recordDir())
	if err != nil {
		m.t.Fatal(err)
	}
	var transport Transport = h
	if m.watch != nil {
		transport = m.watch(h)
	}
	return &NodeConfig{
		ID: m.id, BootID: m.bootID, NVMe: transport, Records: records, Attachments: m.kubernetes, DetachedGrace: m.grace, Events: m.events, Tracer: telemetry.NewTracer(nooptrace.NewTracerProvider()),
		Mounter: mount.New(mount.Config{
			Kernel: mountsSeam{m}, Tools: toolsSeam{m}, Devices: devicesSeam{m}, Filesystems: filesystemsSeam{m},
			SysResource: m.mounts.SysResource, Metrics: telemetry.Noop(), Log: zap.NewNop(),
		}),
	}
}

func (m *machine) recordDir() string { return filepath.Join(m.dir, "stage") }

// records are the stage records on the machine's disk.
func (m *machine) records() []*stage.Record {
	m.t.Helper()
	store, err := stage.Open(m.recordDir())
	if err != nil {
		m.t.Fatal(err)
	}
	list, err := store.List()
	if err != nil {
		m.t.Fatal(err)
	}
	return list
}

// lookAtArray makes the NVMe kernel's target offer what the array exports now.
func (m *machine) lookAtArray() {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := map[string]bool{}
	for _, x := range m.array.exports(m.t) {
		now[x.NQN], m.exported[x.NQN] = true, x
		m.nvme.Export(nvmetest.Subsystem{NQN: x.NQN, Hosts: x.Hosts, Size: x.Size})
	}
	for nqn := range m.exported {
		if !now[nqn] {
			m.nvme.Unexport(nqn)
		}
	}
}

// short is a device's path as the mount kernel has it.
func (m *machine) short(path string) string {
	if name, ok := strings.CutPrefix(path, m.devDir+"/"); ok {
		return "/dev/" + name
	}
	return path
}

// attach makes a device that the NVMe kernel shows the same disk in the mount kernel.
func (m *machine) attach(path string, num host.DevNum) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.attached[path].num == num {
		return
	}
	sys, err := filepath.EvalSymlinks(filepath.Join(filepath.Dir(m.devDir), "sys/block", filepath.Base(path)))
	if err != nil {
		return // it went away since
	}
	nqn, err := os.ReadFile(filepath.Join(filepath.Dir(sys), "subsysnqn"))
	if err != nil {
		return
	}
	d := attachedDisk{num: num, nqn: strings.TrimSpace(string(nqn))}
	m.mounts.AttachDisk(m.short(path), num, m.exported[d.nqn].Path)
	m.attached[path] = d
}

// reap takes away the disks that the NVMe kernel does not show any more. The mount kernel fails
// the test if one of them is in use.
func (m *machine) reap() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for path, d := range m.attached {
		if num, _, err := m.nvme.Identify(path); err == nil && num == d.num {
			continue
		}
		if m.revoked[d.nqn] {
			m.mounts.KillDisk(m.short(path))
		} else {
			m.mounts.DetachDisk(m.short(path))
		}
		delete(m.attached, path)
	}
}

// mayRevoke says that the driver is right to take the disk of an NQN from its users.
func (m *machine) mayRevoke(nqn string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.revoked[nqn] = true
}

// lose makes the kernel drop the controller of a volume by itself, which kills a disk in use.
func (m *machine) lose(nqn string) {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for path, d := range m.attached {
		if d.nqn == nqn {
			m.mounts.KillDisk(m.short(path))
			delete(m.attached, path)
		}
	}
	name := m.controllerOf(nqn)
	if name == "" {
		m.t.Fatalf("%s has no controller for %s", m.id.Name, nqn)
	}
	m.nvme.Drop(name)
}

// loseNamespace makes the kernel drop the namespace of a live controller, as it does when the array
// has given it other identifiers.
func (m *machine) loseNamespace(nqn string) {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for path, d := range m.attached {
		if d.nqn == nqn {
			m.mounts.KillDisk(m.short(path))
			delete(m.attached, path)
		}
	}
	m.nvme.DropNamespace(m.controllerOf(nqn))
}

// pin keeps the device mounted at path from being forgotten, as a container's own copy of the mount does.
func (m *machine) pin(path string) {
	for _, at := range m.table() {
		if at.Path == path {
			at.Path = "/container" + path
			m.nvme.Mount(at)
		}
	}
}

// reboot takes all mounts and controllers from the machine and leaves its disk.
func (m *machine) reboot() {
	m.t.Helper()
	m.stop()
	for _, at := range slices.Backward(m.table()) {
		if err := m.mounts.Unmount(at.Path); err != nil {
			m.t.Fatal(err)
		}
	}
	m.mirror()
	for _, name := range m.nvme.Controllers() {
		m.nvme.Drop(name)
	}
	m.reap()
	m.bootID += " and another"
	m.boot()
}

// controllerOf is the name of the controller for an NQN, "" where there is none.
func (m *machine) controllerOf(nqn string) string {
	for _, name := range m.nvme.Controllers() {
		data, err := os.ReadFile(filepath.Join(filepath.Dir(m.devDir), "sys/class/nvme", name, "subsysnqn"))
		if err == nil && strings.TrimSpace(string(data)) == nqn {
			return name
		}
	}
	return ""
}

// disk is the mount kernel's path of the only disk there is for an NQN.
func (m *machine) disk(nqn string) string {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for path, d := range m.attached {
		if d.nqn == nqn {
			return m.short(path)
		}
	}
	m.t.Fatalf("%s has no disk for %s", m.id.Name, nqn)
	return ""
}

// mirror tells the NVMe kernel which devices mounts pin.
func (m *machine) mirror() {
	table, err := m.mounts.Table()
	if err != nil {
		m.t.Error(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, was := range m.mirrored {
		if !slices.ContainsFunc(table, func(is host.MountPoint) bool { return is.Path == was.Path && is.Dev == was.Dev }) {
			m.nvme.Unmount(was.Path)
		}
	}
	for _, is := range table {
		if !slices.ContainsFunc(m.mirrored, func(was host.MountPoint) bool { return is.Path == was.Path && is.Dev == was.Dev }) {
			m.nvme.Mount(is)
		}
	}
	m.mirrored = table
}

// table is what is mounted on the machine.
func (m *machine) table() []host.MountPoint {
	m.t.Helper()
	table, err := m.mounts.Table()
	if err != nil {
		m.t.Fatal(err)
	}
	return table
}

// mustBeClean fails the test if anything of any volume is on the machine.
func (m *machine) mustBeClean(t testing.TB) {
	t.Helper()
	if c := m.nvme.Controllers(); len(c) > 0 {
		t.Errorf("%s: controllers left: %v", m.id.Name, c)
	}
	if table := m.table(); len(table) > 0 {
		t.Errorf("%s: mounts left: %+v", m.id.Name, table)
	}
	for _, r := range m.records() {
		t.Errorf("%s: record left: %+v", m.id.Name, r)
	}
}

// waitFor polls until ok, or fails the test.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

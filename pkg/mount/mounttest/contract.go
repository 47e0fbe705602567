package mounttest

import (
	"bytes"
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
)

// Disk is a block device to test on.
type Disk struct {
	Path string
	Num  host.DevNum
}

// Setup is a machine to run the contract on.
type Setup struct {
	Config mount.Config
	// NewDisk makes a disk that reads as zeros and goes away after the test.
	NewDisk func(t *testing.T, size uint64) Disk
	// GrowDisk makes it larger.
	GrowDisk func(t *testing.T, d Disk, size uint64)
	// LargeSectors is whether disks have sectors of 4 KiB: an xfs on such is shown to blkid.
	LargeSectors bool
	// GrowsExt4Online is whether this process may (CAP_SYS_RESOURCE).
	GrowsExt4Online bool
}

// RunContract runs the behaviour that pkg/mount promises over a machine. setup may call t.Skip.
func RunContract(t *testing.T, setup func(t *testing.T) Setup) {
	groups := map[string][]contractTest{
		"format":  formatContract(),
		"refuse":  refuseContract(),
		"mount":   mountContract(),
		"publish": publishContract(),
		"grow":    growContract(),
		"whose":   whoseContract(),
		"paths":   pathsContract(),
		"recover": recoverContract(),
	}
	for name, tests := range groups {
		t.Run(name, func(t *testing.T) {
			for _, test := range tests {
				t.Run(test.name, func(t *testing.T) { test.run(t, newFixture(t, setup(t))) })
			}
		})
	}
}

type contractTest struct {
	name string
	run  func(t *testing.T, f *fixture)
}

// diskSize is enough for every mkfs, and for two backup superblocks of ext4 and a mirror of btrfs.
const diskSize = 512 << 20

type fixture struct {
	Setup
	m   *mount.Mounter
	ran *recorded
	dir string
}

func newFixture(t *testing.T, s Setup) *fixture {
	f := &fixture{Setup: s, ran: &recorded{runner: s.Config.Tools}, dir: t.TempDir()}
	f.Config.Tools = f.ran
	f.m = mount.New(f.Config)
	return f
}

type runner interface {
	Run(ctx context.Context, name string, args ...string) (host.Result, error)
}

// recorded remembers the names of the tools that were run.
type recorded struct {
	runner
	mu    sync.Mutex
	names []string
}

func (r *recorded) Run(ctx context.Context, name string, args ...string) (host.Result, error) {
	r.mu.Lock()
	r.names = append(r.names, name)
	r.mu.Unlock()
	return r.runner.Run(ctx, name, args...)
}

// take gives the names since the last take.
func (r *recorded) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := r.names
	r.names = nil
	return names
}

// disk makes a disk. What the test leaves mounted below its directory is unmounted before the disk goes.
func (f *fixture) disk(t *testing.T) Disk {
	t.Helper()
	d := f.NewDisk(t, diskSize)
	t.Cleanup(func() { f.unmountAll(t) })
	return d
}

func (f *fixture) unmountAll(t *testing.T) {
	table, err := f.Config.Kernel.Table()
	if err != nil {
		t.Errorf("clean up: %v", err)
	}
	for _, point := range slices.Backward(table) {
		if strings.HasPrefix(point.Path, f.dir+"/") {
			if err := f.Config.Kernel.Unmount(point.Path); err != nil {
				t.Errorf("clean up: %v", err)
			}
		}
	}
}

func (f *fixture) path(name string) string { return filepath.Join(f.dir, name) }

// write puts bytes on a disk, past all file systems.
func (f *fixture) write(t *testing.T, d Disk, off int64, data []byte) {
	t.Helper()
	device, err := f.Config.Devices.Open(d.Path, false, true)
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	if _, err := device.WriteAt(data, off); err != nil {
		t.Fatal(err)
	}
	if err := device.Sync(); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) read(t *testing.T, d Disk, off int64, n int) []byte {
	t.Helper()
	device, err := f.Config.Devices.Open(d.Path, false, false)
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	data := make([]byte, n)
	if _, err := device.ReadAt(data, off); err != nil {
		t.Fatal(err)
	}
	return data
}

// journal is a FormatJournal in memory that remembers what was called.
type journal struct {
	formatting, formatted bool
	calls                 []string
}

func (j *journal) Formatting() bool { return j.formatting }
func (j *journal) Formatted() bool  { return j.formatted }

func (j *journal) Begin(fsType string) error {
	j.formatting = true
	j.calls = append(j.calls, "begin "+fsType)
	return nil
}

func (j *journal) Done() error {
	j.formatting, j.formatted = false, true
	j.calls = append(j.calls, "done")
	return nil
}

func alive(context.Context) error { return nil }

func all(host.MountPoint) bool { return true }

func (f *fixture) request(d Disk, fsType string) mount.FormatRequest {
	return mount.FormatRequest{Device: d.Path, Num: d.Num, FSType: fsType, Size: diskSize, Blank: true, Live: alive, Journal: &journal{}}
}

// format makes a file system that must not have been there.
func (f *fixture) format(t *testing.T, d Disk, fsType string) {
	t.Helper()
	o, err := f.m.EnsureFormatted(t.Context(), f.request(d, fsType))
	if err != nil || !o.Formatted {
		t.Fatalf("EnsureFormatted = %+v, %v; want it formatted", o, err)
	}
}

// stage formats and mounts at name.
func (f *fixture) stage(t *testing.T, d Disk, fsType, name string) string {
	t.Helper()
	f.format(t, d, fsType)
	f.mount(t, d, fsType, name, false)
	return f.path(name)
}

func (f *fixture) mount(t *testing.T, d Disk, fsType, name string, readOnly bool) {
	t.Helper()
	noop, err := f.m.Mount(t.Context(), mount.MountRequest{Device: d.Path, Num: d.Num, Target: f.path(name), FSType: fsType, ReadOnly: readOnly, Live: alive})
	if err != nil || noop {
		t.Fatalf("Mount = %v, %v", noop, err)
	}
}

func (f *fixture) unmount(t *testing.T, path string) {
	t.Helper()
	if noop, err := f.m.Unmount(t.Context(), path, all); err != nil || noop {
		t.Fatalf("Unmount(%s) = %v, %v", path, noop, err)
	}
}

// layersAt counts the mounts at a path.
func (f *fixture) layersAt(t *testing.T, path string) int {
	t.Helper()
	table, err := f.Config.Kernel.Table()
	if err != nil {
		t.Fatal(err)
	}
	return len(slices.DeleteFunc(table, func(p host.MountPoint) bool { return p.Path != path }))
}

func wantKind(t *testing.T, err error, kind fault.Kind) {
	t.Helper()
	if fault.KindOf(err) != kind {
		t.Errorf("error of kind %q, want %q: %v", fault.KindOf(err), kind, err)
	}
}

func wantReason(t *testing.T, err error, reason fault.Reason) {
	t.Helper()
	if fault.ReasonOf(err) != reason {
		t.Errorf("error of reason %q, want %q: %v", fault.ReasonOf(err), reason, err)
	}
}

func isZero(data []byte) bool { return len(bytes.Trim(data, "\x00")) == 0 }

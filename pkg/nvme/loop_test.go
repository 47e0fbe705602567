package nvme_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme/nvmetest"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// loopArray writes what the simulated array keeps in its directory.
type loopArray struct {
	t   *testing.T
	dir string
}

func (a loopArray) file(nqn string) string {
	return filepath.Join(a.dir, "pools", strings.ReplaceAll(nqn, ":", "_"))
}

func (a loopArray) Export(s nvmetest.Subsystem) {
	a.t.Helper()
	a.write(a.file(s.NQN), nil, int64(s.Size))
	text, err := json.Marshal(map[string]any{"path": a.file(s.NQN), "hosts": s.Hosts, "size": s.Size, "slot": "csi-1"})
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(filepath.Join(a.dir, "exports", s.NQN), text, int64(len(text)))
}

func (a loopArray) write(path string, text []byte, size int64) {
	a.t.Helper()
	for _, err := range []error{os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, text, 0o644), os.Truncate(path, size)} {
		if err != nil {
			a.t.Fatal(err)
		}
	}
}

func (a loopArray) Unexport(nqn string) {
	if err := os.Remove(filepath.Join(a.dir, "exports", nqn)); err != nil {
		a.t.Error(err)
	}
}

func (a loopArray) Resize(nqn string, size uint64) {
	if err := os.Truncate(a.file(nqn), int64(size)); err != nil {
		a.t.Error(err)
	}
}

// needLoop skips where loop devices cannot be had, and checks at the end that none is left.
func needLoop(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("loop devices need root")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skipf("no loop devices here: %v", err)
	}
	if _, err := exec.LookPath("losetup"); err != nil {
		t.Skipf("no losetup here: %v", err)
	}
	dir := t.TempDir()
	t.Cleanup(func() { nothingLeft(t, dir) })
	return dir
}

func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if text, err := os.ReadFile(f); err == nil && strings.HasPrefix(string(text), dir) {
			t.Errorf("%s is still attached: %s", f, text)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "attached")); !os.IsNotExist(err) {
		t.Errorf("links are left in %s/attached: %v", dir, err)
	}
}

func TestLoopContract(t *testing.T) {
	nvmetest.RunContract(t, func(t *testing.T) nvmetest.Setup {
		dir := needLoop(t)
		return nvmetest.Setup{
			Connector: newLoop(t, dir), Array: loopArray{t: t, dir: dir}, Portal: nvme.Portal{Address: "127.0.0.1", Port: 4420},
			Hold: func(path string) func() { return holdOpen(t, path) },
		}
	})
}

func newLoop(t *testing.T, dir string) *nvme.Loop {
	t.Helper()
	l, err := nvme.NewLoop(nvme.LoopConfig{Dir: dir, HostNQN: nvmetest.HostNQN})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func holdOpen(t *testing.T, path string) (release func()) {
	t.Helper()
	d, err := host.OpenBlock(path, true, false)
	if err != nil {
		t.Fatal(err)
	}
	return func() { d.Close() }
}

func loopTarget(nqn string) nvme.Target {
	return nvme.Target{NQN: nqn, HostNQN: nvmetest.HostNQN, HostID: nvmetest.HostID, Portals: []nvme.Portal{{Address: "127.0.0.1", Port: 4420}}}
}

// detach takes an attachment down at the end of the test.
func detach(t *testing.T, l *nvme.Loop, nqn, hostNQN string) {
	t.Cleanup(func() {
		if err := l.Disconnect(context.Background(), nqn, hostNQN, telemetry.DisconnectUnstage); err != nil {
			t.Error(err)
		}
	})
}

func TestLoopSaysThatTheArrayIsNotThere(t *testing.T) {
	dir := needLoop(t)
	_, err := newLoop(t, dir).Connect(t.Context(), loopTarget("nqn.test:v"))
	wantReason(t, err, fault.NVMeConnectRefused)
}

func TestLoopRefusesToDetachAMountedDevice(t *testing.T) {
	dir := needLoop(t)
	l := newLoop(t, dir)
	loopArray{t: t, dir: dir}.Export(nvmetest.Subsystem{NQN: "nqn.test:v", Size: 16 * mib})
	detach(t, l, "nqn.test:v", nvmetest.HostNQN)
	d, err := l.Connect(t.Context(), loopTarget("nqn.test:v"))
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(t.TempDir(), "m")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := host.NewRunner().Run(t.Context(), "mkfs.ext4", "-q", d.Path); err != nil {
		t.Fatal(err)
	}
	mounts := host.NewMounts()
	if err := mounts.Mount(d.Path, at, "ext4", nil); err != nil {
		t.Fatal(err)
	}
	err = l.Disconnect(t.Context(), "nqn.test:v", nvmetest.HostNQN, telemetry.DisconnectUnstage)
	if umountErr := mounts.Unmount(at); umountErr != nil {
		t.Fatal(umountErr)
	}
	wantKind(t, err, fault.Busy)
	if !strings.Contains(err.Error(), at) {
		t.Errorf("%v does not say where it is mounted", err)
	}
}

func TestLoopSeesABindMountOfTheNode(t *testing.T) {
	dir := needLoop(t)
	l := newLoop(t, dir)
	loopArray{t: t, dir: dir}.Export(nvmetest.Subsystem{NQN: "nqn.test:v", Size: mib})
	detach(t, l, "nqn.test:v", nvmetest.HostNQN)
	d, err := l.Connect(t.Context(), loopTarget("nqn.test:v"))
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(t.TempDir(), "node")
	if err := os.WriteFile(at, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	mounts := host.NewMounts()
	if err := mounts.Bind(d.Path, at, false); err != nil {
		t.Fatal(err)
	}
	err = l.Disconnect(t.Context(), "nqn.test:v", nvmetest.HostNQN, telemetry.DisconnectUnstage)
	if umountErr := mounts.Unmount(at); umountErr != nil {
		t.Fatal(umountErr)
	}
	wantKind(t, err, fault.Busy)
}

// The loop device's read-only flag (BLKROSET) outlives its file.
func TestLoopDeviceIsWritableAfterAReadOnlyUser(t *testing.T) {
	dir := needLoop(t)
	l := newLoop(t, dir)
	loopArray{t: t, dir: dir}.Export(nvmetest.Subsystem{NQN: "nqn.test:v", Size: mib})
	detach(t, l, "nqn.test:v", nvmetest.HostNQN)
	for range 2 {
		d, err := l.Connect(t.Context(), loopTarget("nqn.test:v"))
		if err != nil {
			t.Fatal(err)
		}
		b, err := host.OpenBlock(d.Path, false, true)
		if err != nil {
			t.Fatalf("the device cannot be written: %v", err)
		}
		_, err = b.WriteAt(make([]byte, 4096), 0)
		for _, err := range []error{err, b.Sync(), b.SetReadOnly(true), b.Close()} {
			if err != nil {
				t.Error(err)
			}
		}
		if err := l.Disconnect(t.Context(), "nqn.test:v", nvmetest.HostNQN, telemetry.DisconnectUnstage); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLoopKeepsTwoHostsApart(t *testing.T) {
	dir := needLoop(t)
	l := newLoop(t, dir)
	loopArray{t: t, dir: dir}.Export(nvmetest.Subsystem{NQN: "nqn.test:v", Size: mib})
	other := loopTarget("nqn.test:v")
	other.HostID = "22222222-2222-5333-8444-555555555555"
	other.HostNQN = "nqn.2014-08.org.nvmexpress:uuid:" + other.HostID
	numbers := map[host.DevNum]bool{}
	for _, target := range []nvme.Target{loopTarget("nqn.test:v"), other} {
		detach(t, l, "nqn.test:v", target.HostNQN)
		d, err := l.Connect(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		numbers[d.Num] = true
	}
	if len(numbers) != 2 {
		t.Errorf("two hosts share the device %v", numbers)
	}
	if states, err := l.States(); err != nil || states[telemetry.ControllerLive] != 1 {
		t.Errorf("states %v, %v; want our own attachment only", states, err)
	}
}

func TestLoopReplacesALinkLeftByACrash(t *testing.T) {
	dir := needLoop(t)
	l := newLoop(t, dir)
	loopArray{t: t, dir: dir}.Export(nvmetest.Subsystem{NQN: "nqn.test:v", Size: mib})
	stale := filepath.Join(dir, "attached", nvmetest.HostID, "nqn.test:v")
	loopArray{t: t, dir: dir}.write(stale, []byte("an older file"), 4096)
	_, err := l.Find(t.Context(), "nqn.test:v", nvmetest.HostNQN)
	wantReason(t, err, fault.ReasonNotFound)
	detach(t, l, "nqn.test:v", nvmetest.HostNQN)
	if d, err := l.Connect(t.Context(), loopTarget("nqn.test:v")); err != nil || d.Size != mib {
		t.Errorf("connect gave %+v, %v; want the exported file", d, err)
	}
}

func TestLoopWithoutLosetupSaysSo(t *testing.T) {
	dir := t.TempDir()
	loopArray{t: t, dir: dir}.Export(nvmetest.Subsystem{NQN: "nqn.test:v", Size: mib})
	l, err := nvme.NewLoop(nvme.LoopConfig{Dir: dir, HostNQN: nvmetest.HostNQN, Runner: nvmetest.NewKernel(t, nvmetest.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.Connect(t.Context(), loopTarget("nqn.test:v"))
	wantKind(t, err, fault.Precondition)
	nothingLeft(t, dir)
}

func TestLoopIsLoud(t *testing.T) {
	core, lines := observer.New(zap.WarnLevel)
	dir := t.TempDir()
	l, err := nvme.NewLoop(nvme.LoopConfig{Dir: dir, HostNQN: nvmetest.HostNQN, Log: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.Connect(t.Context(), loopTarget("nqn.test:v"))
	wantReason(t, err, fault.NVMeConnectRefused)
	if n := lines.FilterMessageSnippet("DEVELOPMENT ONLY").Len(); n != 2 {
		t.Errorf("%d warnings, want one at the start and one for the connect", n)
	}
}

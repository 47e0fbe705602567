package nvme_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme/nvmetest"
)

// blind cannot read some attributes of sysfs.
type blind struct {
	*nvmetest.Kernel
	mu    sync.Mutex
	to    string // the end of their paths; "" = sees all
	why   error
	times int // how often; -1 = always
}

func newBlindRig(t *testing.T, o nvmetest.Options) (rig, *blind) {
	b := &blind{}
	r := newRig(t, o, func(c *nvme.Config) { c.Attributes = b })
	b.Kernel = r.Kernel
	return r, b
}

func (b *blind) set(to string, why error, times int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.to, b.why, b.times = to, why, times
}

func (b *blind) Read(dir *host.Directory, name string) (string, error) {
	path := filepath.Join(dir.Path(), name)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.to != "" && b.times != 0 && strings.HasSuffix(path, b.to) {
		b.times--
		return "", &os.PathError{Op: "read", Path: path, Err: b.why}
	}
	return b.Kernel.Read(dir, name)
}

// mountedVolume connects and mounts the volume.
func mountedVolume(t *testing.T, r rig) nvme.Device {
	t.Helper()
	d := r.connect(t)
	r.Mount(host.MountPoint{Dev: d.Num, Root: "/", Path: "/mnt/v", FSType: "xfs"})
	return d
}

func wantUntouched(t *testing.T, r rig) {
	t.Helper()
	if r.deletes() > 0 || len(r.Controllers()) != 1 {
		t.Errorf("writes %q, controllers %q: something was done", r.Writes(), r.Controllers())
	}
}

// A device that cannot be found, or whose users cannot be, is in use.
func TestDisconnectTakesAnAttributeItCannotReadForInUse(t *testing.T) {
	for _, multipath := range []bool{true, false} {
		attributes := []string{"/nvme0n1/hidden", "/nvme0n1/dev"}
		if multipath {
			attributes = append(attributes, "/nvme0n1/nsid", "/nvme0n1/wwid", "/nvme0c0n1/nsid", "/nvme0c0n1/wwid", "/nvme0c0n1/hidden", "nvme-subsys0/subsysnqn")
		}
		for _, attribute := range attributes {
			for _, why := range []error{unix.EIO, unix.EACCES, unix.ENOENT, unix.ENODEV} {
				if missing := why == unix.ENOENT || why == unix.ENODEV; missing && strings.HasSuffix(attribute, "/hidden") {
					continue // old kernels have none
				}
				t.Run(attribute+" "+why.Error(), func(t *testing.T) {
					r, b := newBlindRig(t, nvmetest.Options{Multipath: multipath})
					mountedVolume(t, r)
					b.set(attribute, why, -1)
					wantKind(t, r.disconnect(t.Context()), fault.Busy)
					wantUntouched(t, r)
					r.Unmount("/mnt/v")
					wantKind(t, r.disconnect(t.Context()), fault.Busy) // it is still unknown
					b.set("", nil, 0)
					if err := r.disconnect(t.Context()); err != nil || len(r.Controllers()) > 0 {
						t.Errorf("disconnect of what is free and can be seen: %v", err)
					}
				})
			}
		}
	}
}

func TestDisconnectTakesAHoleInSysfsForInUse(t *testing.T) {
	for name, dig := range map[string]func(sys string) string{
		"the path's head is not there":        func(sys string) string { return sys + "/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1" },
		"no subsystem is there":               func(sys string) string { return sys + "/class/nvme-subsystem/nvme-subsys0" },
		"the class of subsystems is missing":  func(sys string) string { return sys + "/class/nvme-subsystem" },
		"the subsystem has no such member":    func(sys string) string { return sys + "/class/nvme-subsystem/nvme-subsys0/nvme0" },
		"the subsystem's NQN is missing":      func(sys string) string { return sys + "/class/nvme-subsystem/nvme-subsys0/subsysnqn" },
		"the path's wwid is missing":          func(sys string) string { return sys + "/class/nvme/nvme0/nvme0c0n1/wwid" },
		"the device's holders are missing":    func(sys string) string { return sys + "/block/nvme0n1/holders" },
		"the partition's number is missing":   func(sys string) string { return sys + "/block/nvme0n1/nvme0n1p1/dev" },
		"the partition's holders are missing": func(sys string) string { return sys + "/block/nvme0n1/nvme0n1p1/holders" },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nvmetest.Options{Multipath: true})
			part := host.DevNum{Major: 259, Minor: 77}
			r.AddPartition(r.connect(t), part)
			path := dig(r.Config().Sys)
			if err := os.Rename(path, filepath.Join(t.TempDir(), "hidden")); err != nil {
				t.Fatal(err)
			}
			wantKind(t, r.disconnect(t.Context()), fault.Busy)
			wantUntouched(t, r)
		})
	}
}

// A partition that is gone says nothing of the rest of the device.
func TestDisconnectStillSeesTheMountWhenAPartitionIsGone(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	d := mountedVolume(t, r)
	r.AddPartition(d, host.DevNum{Major: 259, Minor: 77})
	part := filepath.Join(r.Config().Sys, "block/nvme0n1/nvme0n1p1")
	cfg := r.Config()
	cfg.Attributes = &vanishing{Kernel: r.Kernel, at: "/nvme0n1p1/dev", dir: part}
	r.host = newHost(t, cfg)
	err := r.disconnect(t.Context())
	wantKind(t, err, fault.Busy)
	if !strings.Contains(err.Error(), "/mnt/v") {
		t.Errorf("%v does not say where it is mounted", err)
	}
	wantUntouched(t, r)
}

// vanishing removes a device when it is about to be read.
type vanishing struct {
	*nvmetest.Kernel
	at, dir string
}

func (v *vanishing) Read(dir *host.Directory, name string) (string, error) {
	if strings.HasSuffix(filepath.Join(dir.Path(), name), v.at) {
		if err := os.RemoveAll(v.dir); err != nil {
			return "", err
		}
	}
	return v.Kernel.Read(dir, name)
}

// A controller that was never live is deleted once it is, which may be after somebody has begun
// to use its device.
func TestDisconnectLooksForUsersBeforeEachTry(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	d := r.connect(t)
	r.SetState(d.Controller, "new")
	done := make(chan error, 1)
	go func() { done <- r.disconnect(t.Context()) }()
	eventually(t, "the kernel refused once", func() bool { return r.deletes() > 0 })
	r.Mount(host.MountPoint{Dev: d.Num, Root: "/", Path: "/mnt/v", FSType: "xfs"})
	r.SetState(d.Controller, "live")
	wantKind(t, <-done, fault.Busy)
	if len(r.Controllers()) != 1 {
		t.Error("a mounted device was disconnected")
	}
}

func TestFindSaysWhenItCannotTell(t *testing.T) {
	for _, attribute := range []string{"/nvme0n1/wwid", "/nvme0n1/dev", "/nvme0n1/size", "/nvme0c0n1/nsid", "nvme-subsys0/subsysnqn", "nvme0/state"} {
		for _, why := range []error{unix.EIO, unix.ENOENT} {
			r, b := newBlindRig(t, nvmetest.Options{Multipath: true})
			r.connect(t)
			b.set(attribute, why, -1)
			_, err := r.host.Find(t.Context(), volume, nvmetest.HostNQN)
			if got := fault.ReasonOf(err); got != fault.ReasonUnavailable {
				t.Errorf("%s, %v: %v of reason %q, want unavailable", attribute, why, err, got)
			}
		}
	}
}

func TestFindSaysWhenItCannotFollowTheSubsystemsLink(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	r.connect(t)
	link := filepath.Join(r.Config().Sys, "class/nvme-subsystem/nvme-subsys0/nvme0")
	if err := errors.Join(os.Remove(link), os.Symlink("nvme0", link)); err != nil {
		t.Fatal(err)
	}
	_, err := r.host.Find(t.Context(), volume, nvmetest.HostNQN)
	wantReason(t, err, fault.ReasonUnavailable)
	wantKind(t, r.disconnect(t.Context()), fault.Busy)
}

// Without native multipath the second controller's disk would be a second disk of the volume.
func TestFindGivesNoDeviceWhileAnotherControllerCannotBeRead(t *testing.T) {
	r, b := newBlindRig(t, nvmetest.Options{})
	r.connect(t)
	elsewhere := r.target
	elsewhere.Portals = []nvme.Portal{r.AddPortal()}
	r.Autoconnect(elsewhere)
	eventually(t, "its disk is there", func() bool { return hasNode(r, "nvme1n1") })
	b.set("/nvme1n1/dev", unix.EIO, -1)
	_, err := r.host.Find(t.Context(), volume, nvmetest.HostNQN)
	wantReason(t, err, fault.ReasonUnavailable)
}

func TestFindSaysThatAPathWithoutItsHeadIsNoDevice(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	r.connect(t)
	head := filepath.Join(r.Config().Sys, "devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1")
	if err := os.Rename(head, filepath.Join(t.TempDir(), "head")); err != nil {
		t.Fatal(err)
	}
	_, err := r.host.Find(t.Context(), volume, nvmetest.HostNQN)
	wantReason(t, err, fault.NVMeControllerLost)
}

// The path comes before its head, and either may be unreadable at first.
func TestConnectWaitsUntilItCanTell(t *testing.T) {
	for _, attribute := range []string{"/nvme0n1/wwid", "/nvme0n1/size", "/nvme0c0n1/nsid", "nvme-subsys0/subsysnqn"} {
		r, b := newBlindRig(t, nvmetest.Options{Multipath: true})
		b.set(attribute, unix.EIO, 3)
		r.connect(t)
		if b.times != 0 {
			t.Errorf("%s was read %d times too few", attribute, b.times)
		}
	}
}

// Rule 4: unstaged is what is not in sysfs, not what cannot be read there.
func TestAControllerWithoutAnAttributeIsNotGone(t *testing.T) {
	for _, attribute := range []string{"transport", "subsysnqn", "hostnqn", "state"} {
		r, b := newBlindRig(t, nvmetest.Options{Multipath: true})
		r.connect(t)
		b.set("nvme0/"+attribute, unix.ENOENT, -1)
		wantKind(t, r.disconnect(t.Context()), fault.Unavailable)
		if nqns, err := r.host.Attached(nvmetest.HostNQN); err == nil {
			t.Errorf("%s: attached gives %q", attribute, nqns)
		}
		if states, err := r.host.States(); err == nil {
			t.Errorf("%s: states gives %v", attribute, states)
		}
		if _, err := r.host.Connect(t.Context(), r.target); fault.KindOf(err) != fault.Unavailable || len(r.Creates()) != 1 {
			t.Errorf("%s: connect: %v after the writes %q", attribute, err, r.Creates())
		}
		wantUntouched(t, r)
	}
}

// A controller's class link is there before its attributes: those of another volume must not
// make this one fail.
func TestAControllerThatIsJustComingIsWaitedFor(t *testing.T) {
	r, b := newBlindRig(t, nvmetest.Options{Multipath: true})
	r.connect(t)
	b.set("nvme0/transport", unix.ENOENT, 2)
	if nqns, err := r.host.Attached(nvmetest.HostNQN); err != nil || len(nqns) != 1 {
		t.Errorf("attached gives %q, %v", nqns, err)
	}
}

// Whatever cannot be read, no directory stays open.
func TestNoDirectoryStaysOpen(t *testing.T) {
	ask := func(r rig, d nvme.Device) { // what they answer other tests look at
		_ = r.host.Still(t.Context(), volume, nvmetest.HostNQN, d)
		_, _ = r.host.Find(t.Context(), volume, nvmetest.HostNQN)
		_ = r.disconnect(t.Context())
		_, _ = r.host.LowerCtrlLossTmo(t.Context(), volume, nvmetest.HostNQN, 5)
	}
	for _, multipath := range []bool{true, false} {
		r, b := newBlindRig(t, nvmetest.Options{Multipath: multipath})
		d := mountedVolume(t, r)
		ask(r, d)
		before := openFiles(t)
		for _, attribute := range []string{
			"/hidden", "/dev", "/size", "/nsid", "/wwid", "/subsysnqn", "/hostnqn", "/hostid", "/state", "/transport", "/address",
			"/ctrl_loss_tmo", "/reconnect_delay", "/delayed_removal_secs", "nvme-subsys0/subsysnqn", "nvme0c0n1/nsid", "nvme0n1/nsid",
		} {
			for _, why := range []error{unix.EIO, unix.ENOENT} {
				for _, times := range []int{1, 2, 5, -1} {
					b.set(attribute, why, times)
					ask(r, d)
				}
			}
		}
		if after := openFiles(t); after > before {
			t.Errorf("multipath %t: %d files are open, %d were", multipath, after, before)
		}
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

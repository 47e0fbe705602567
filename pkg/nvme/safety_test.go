package nvme_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme/nvmetest"
)

func TestConnectRefusesADeviceThatIsNotTheOneInSysfs(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true}, impatient)
	r.Lie(filepath.Join(r.Config().Dev, "nvme0n1"), host.DevNum{Major: 8, Minor: 1})
	_, err := r.host.Connect(t.Context(), r.target)
	wantKind(t, err, fault.Unavailable)
	// Nor is it disconnected: an exclusive open of that node would be the answer of another device.
	if !strings.Contains(err.Error(), "8:1") || r.deletes() > 0 {
		t.Errorf("error %v, writes %q", err, r.Writes())
	}
	wantKind(t, r.disconnect(t.Context()), fault.Busy)
	r.Lie(filepath.Join(r.Config().Dev, "nvme0n1"), host.DevNum{Major: 259})
	if err := r.disconnect(t.Context()); err != nil {
		t.Errorf("disconnect once the node is right: %v", err)
	}
}

func TestConnectRefusesASubsystemWithTwoNamespaces(t *testing.T) {
	for _, multipath := range []bool{true, false} {
		r := newRig(t, nvmetest.Options{Multipath: multipath}, impatient)
		r.Export(nvmetest.Subsystem{NQN: volume, Size: mib, Namespaces: 2})
		r.Autoconnect(r.target)
		eventually(t, "both are there", func() bool { return hasNode(r, "nvme0n2") })
		_, err := r.host.Connect(t.Context(), r.target)
		wantReason(t, err, fault.NVMeDeviceTimeout)
		if !strings.Contains(err.Error(), "2 block devices") {
			t.Errorf("multipath %v: %v", multipath, err)
		}
		_, err = r.host.Find(t.Context(), volume, nvmetest.HostNQN)
		wantReason(t, err, fault.NVMeControllerLost)
	}
}

func hasNode(r rig, name string) bool {
	_, _, err := r.Identify(filepath.Join(r.Config().Dev, name))
	return err == nil
}

// Two arrays may have a volume of the same name; the kernel would take them for one.
func TestConnectRefusesAnotherRouteToTheSameNQN(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	elsewhere := r.target
	elsewhere.Portals = []nvme.Portal{r.AddPortal()}
	r.Autoconnect(elsewhere)
	_, err := r.host.Connect(t.Context(), r.target)
	wantKind(t, err, fault.Precondition)
	if len(r.Creates()) > 0 || len(r.Controllers()) != 1 {
		t.Errorf("wrote %q, controllers %q", r.Creates(), r.Controllers())
	}
}

// What the kernel did on 6.1 when a disk was lost while mounted (vm.md 6).
func TestConnectFindsTheDiskWhenNumbersDisagree(t *testing.T) {
	for _, tt := range []struct {
		name       string
		multipath  bool
		controller string
		path       string
	}{
		{"multipath", true, "nvme1", "nvme0n2"},
		{"no multipath", false, "nvme1", "nvme1n2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, nvmetest.Options{Multipath: tt.multipath})
			lost := r.connect(t)
			r.Mount(host.MountPoint{Dev: lost.Num, Path: "/mnt/v", FSType: "ext4"})
			r.Drop(lost.Controller)
			d := r.connect(t)
			if d.Controller != tt.controller || filepath.Base(d.Path) != tt.path || d.Num == lost.Num {
				t.Errorf("got %+v, want %s behind %s", d, tt.path, tt.controller)
			}
			if err := r.disconnect(t.Context()); err != nil { // the stale mount is of another device
				t.Errorf("disconnect: %v", err)
			}
			r.Unmount("/mnt/v")
			if d := r.connect(t); filepath.Base(d.Path) != "nvme0n1" {
				t.Errorf("with nothing stale left the disk is %s", d.Path)
			}
		})
	}
}

func TestConnectUsesFurtherPortalsWhereTheyMakeOneDevice(t *testing.T) {
	for _, tt := range []struct {
		o           nvmetest.Options
		controllers int
	}{
		{nvmetest.Options{Multipath: true}, 2},
		{nvmetest.Options{}, 1},                                        // would be two disks
		{nvmetest.Options{Multipath: true, SingleController: true}, 1}, // the target refuses a second
	} {
		r := newRig(t, tt.o)
		r.target.Portals = append(r.target.Portals, r.AddPortal())
		d := r.connect(t)
		if got := r.Controllers(); len(got) != tt.controllers {
			t.Errorf("%+v: controllers %q, want %d", tt.o, got, tt.controllers)
		}
		if found, err := r.host.Find(t.Context(), volume, nvmetest.HostNQN); err != nil || found.Num != d.Num {
			t.Errorf("%+v: find gave %+v, %v", tt.o, found, err)
		}
		if err := r.disconnect(t.Context()); err != nil || len(r.Controllers()) > 0 {
			t.Errorf("%+v: disconnect: %v, left %q", tt.o, err, r.Controllers())
		}
	}
}

func TestConnectTriesTheNextPortal(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	away := r.target.Portals[0]
	r.target.Portals = append(r.target.Portals, r.AddPortal())
	r.Silence(away)
	r.connect(t)
	r.Silence(r.target.Portals[1])
	if err := r.disconnect(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := r.host.Connect(t.Context(), r.target)
	wantReason(t, err, fault.NVMeConnectRefused)
	for _, p := range r.target.Portals {
		if !strings.Contains(err.Error(), p.String()) {
			t.Errorf("the error does not name %s: %v", p, err)
		}
	}
}

// Without native multipath two portals are two disks of one volume.
func TestFindRefusesTwoDisksOfOneVolume(t *testing.T) {
	r := newRig(t, nvmetest.Options{})
	r.connect(t)
	elsewhere := r.target
	elsewhere.Portals = []nvme.Portal{r.AddPortal()}
	r.Autoconnect(elsewhere)
	eventually(t, "find refuses", func() bool {
		_, err := r.host.Find(t.Context(), volume, nvmetest.HostNQN)
		return fault.KindOf(err) == fault.Precondition
	})
}

func TestDisconnectRefusesADeviceInUse(t *testing.T) {
	for name, use := range map[string]func(r rig, d nvme.Device){
		"mounted": func(r rig, d nvme.Device) {
			r.Mount(host.MountPoint{Dev: d.Num, Root: "/", Path: "/mnt/v", FSType: "xfs"})
		},
		"bind-mounted as a raw block volume": func(r rig, d nvme.Device) {
			r.Mount(host.MountPoint{Dev: host.DevNum{Minor: 6}, Root: "/" + filepath.Base(d.Path), Path: "/pods/v", FSType: "devtmpfs"})
		},
		"held by another device":     func(r rig, d nvme.Device) { r.AddHolder(d, "dm-0") },
		"open exclusively elsewhere": func(r rig, d nvme.Device) { r.Hold(d.Path) },
		"a partition is mounted": func(r rig, d nvme.Device) {
			part := host.DevNum{Major: 259, Minor: 77}
			r.AddPartition(d, part)
			r.Mount(host.MountPoint{Dev: part, Path: "/mnt/p", FSType: "ext4"})
		},
	} {
		for _, multipath := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, nvmetest.Options{Multipath: multipath})
				d := r.connect(t)
				use(r, d)
				err := r.disconnect(t.Context())
				wantKind(t, err, fault.Busy)
				if r.deletes() > 0 || len(r.Controllers()) != 1 {
					t.Errorf("writes %q, controllers %q: something was done", r.Writes(), r.Controllers())
				}
			})
		}
	}
}

// broken answers no question about use.
type broken struct {
	*nvmetest.Kernel
	table, claim, sysfs error
}

func (b *broken) Table() ([]host.MountPoint, error) { return nil, b.table }
func (b *broken) Exclusive(string) error            { return b.claim }

func (b *broken) Read(dir *host.Directory, name string) (string, error) {
	if b.sysfs != nil && name == "dev" {
		return "", b.sysfs
	}
	return b.Kernel.Read(dir, name)
}

func TestDisconnectTakesUnknownForInUse(t *testing.T) {
	for name, spoil := range map[string]func(b *broken){
		"mount table":    func(b *broken) { b.table = fs.ErrPermission },
		"exclusive open": func(b *broken) { b.claim = unix.ENXIO },
		"sysfs":          func(b *broken) { b.sysfs = fs.ErrPermission },
	} {
		t.Run(name, func(t *testing.T) {
			b := &broken{}
			r := newRig(t, nvmetest.Options{Multipath: true}, func(c *nvme.Config) { c.Mounts, c.Devices, c.Attributes = b, b, b })
			b.Kernel = r.Kernel
			r.connect(t)
			spoil(b)
			wantKind(t, r.disconnect(t.Context()), fault.Busy)
			if r.deletes() > 0 {
				t.Errorf("wrote %q", r.Writes())
			}
		})
	}
}

func TestDisconnectIsNotDoneWhileSysfsCannotBeRead(t *testing.T) {
	b := &unreadable{}
	r := newRig(t, nvmetest.Options{}, func(c *nvme.Config) { c.Attributes = b })
	b.Kernel = r.Kernel
	r.connect(t)
	b.err = unix.EIO
	wantKind(t, r.disconnect(t.Context()), fault.Unavailable)
	if _, err := r.host.Attached(nvmetest.HostNQN); err == nil {
		t.Error("attached lists controllers it cannot read")
	}
}

type unreadable struct {
	*nvmetest.Kernel
	err error
}

func (u *unreadable) Read(dir *host.Directory, name string) (string, error) {
	if u.err != nil && name == "hostnqn" {
		return "", u.err
	}
	return u.Kernel.Read(dir, name)
}

// The kernel gives up the controller while it is looked at for users, and gives its name to another: of the next
// volume, or of this one, which nobody has looked at.
func TestDisconnectDeletesNoControllerThatHasTheNameNow(t *testing.T) {
	for _, at := range []string{"exclusive", deleteAttribute} { // before and after its directory is opened
		for _, next := range []string{volume + "9", volume} {
			t.Run(at+" "+next, func(t *testing.T) {
				n := &renaming{at: at}
				r := newRig(t, nvmetest.Options{Multipath: true}, func(c *nvme.Config) { c.Attributes, c.Devices = n, n })
				n.Kernel = r.Kernel
				d := r.connect(t)
				r.Export(nvmetest.Subsystem{NQN: volume + "9", Hosts: []string{nvmetest.HostNQN}, Size: 8 * mib})
				n.next = func() {
					r.Drop(d.Controller)
					r.createBehind(t, next)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				defer cancel()
				err := r.disconnect(ctx)
				if n.next != nil || !slices.Equal(r.Controllers(), []string{d.Controller}) || r.deletes() > 0 {
					t.Errorf("the other controller is gone, or never came: %q, %v", r.Controllers(), err)
				}
				if (err == nil) != (next != volume) {
					t.Errorf("error = %v", err)
				}
			})
		}
	}
}

const deleteAttribute = "delete_controller"

// createBehind makes a controller behind the back of the code under test.
func (r rig) createBehind(t *testing.T, nqn string) {
	t.Helper()
	if _, err := r.Create(fmt.Sprintf("transport=tcp,traddr=%s,trsvcid=%d,nqn=%s,hostnqn=%s,hostid=%s",
		r.target.Portals[0].Address, r.target.Portals[0].Port, nqn, nvmetest.HostNQN, nvmetest.HostID)); err != nil {
		t.Error(err)
	}
}

func TestDisconnectDeletesNothingForACallerThatHasGone(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	r.target.Portals = append(r.target.Portals, r.AddPortal())
	r.connect(t)
	release := r.HoldDeletes()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	wantKind(t, r.disconnect(ctx), fault.Unavailable)
	release()
	eventually(t, "the first is deleted", func() bool { return len(r.Controllers()) < 2 })
	if n := r.deletes(); n != 1 || len(r.Controllers()) != 1 {
		t.Errorf("%d writes to delete_controller, want 1; left %q", n, r.Controllers())
	}
	if err := r.disconnect(t.Context()); err != nil || len(r.Controllers()) > 0 {
		t.Errorf("the next call: %v, left %q", err, r.Controllers())
	}
}

// renaming calls next, once, when something is about to be done.
type renaming struct {
	*nvmetest.Kernel
	at   string
	next func()
}

func (n *renaming) pass(name string) {
	if next := n.next; next != nil && name == n.at {
		n.next = nil
		next()
	}
}

func (n *renaming) Exclusive(path string) error {
	defer n.pass("exclusive")
	return n.Kernel.Exclusive(path)
}

func (n *renaming) Write(dir *host.Directory, name, value string) error {
	n.pass(name)
	return n.Kernel.Write(dir, name, value)
}

func TestDisconnectRemovesAControllerWhoseTargetIsAway(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	d := r.connect(t)
	r.SetState(d.Controller, "connecting")
	if err := r.disconnect(t.Context()); err != nil || len(r.Controllers()) > 0 {
		t.Errorf("%v, left %q", err, r.Controllers())
	}
}

func TestDisconnectWaitsOutAControllerThatWasNeverLive(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	d := r.connect(t)
	r.SetState(d.Controller, "new")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := r.disconnect(ctx)
	wantKind(t, err, fault.Unavailable)
	if !slices.Equal(r.Controllers(), []string{d.Controller}) {
		t.Errorf("controllers %q", r.Controllers())
	}
	r.SetState(d.Controller, "live")
	if err := r.disconnect(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestDisconnectNeverStacksRemovals(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	r.connect(t)
	release := r.HoldDeletes()
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := r.disconnect(ctx)
		cancel()
		wantKind(t, err, fault.Unavailable)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v does not say that time ran out", err)
		}
	}
	release()
	if err := r.disconnect(t.Context()); err != nil {
		t.Error(err)
	}
	if n := r.deletes(); n != 1 {
		t.Errorf("%d writes to delete_controller, want 1", n)
	}
}

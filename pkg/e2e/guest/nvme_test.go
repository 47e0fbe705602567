package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme/nvmetest"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// What pkg/nvme relies on and what its fake kernel claims, asked of this kernel. The tests are named TestNVMe:
// they run without native multipath, too.

// since tells whether this kernel is of that release or a later one.
func since(t *testing.T, major, minor int) bool {
	t.Helper()
	var uts unix.Utsname
	ok(t, unix.Uname(&uts))
	release := strings.Split(unix.ByteSliceToString(uts.Release[:]), ".")
	have, err := strconv.Atoi(release[0])
	ok(t, err)
	haveMinor, err := strconv.Atoi(release[1])
	ok(t, err)
	return have > major || have == major && haveMinor >= minor
}

func multipath(t *testing.T) bool {
	t.Helper()
	data, err := os.ReadFile("/sys/module/nvme_core/parameters/multipath")
	ok(t, err)
	return strings.TrimSpace(string(data)) == "Y"
}

// connectRequest is what is written to /dev/nvme-fabrics.
func connectRequest(nqn string, p nvme.Portal, more string) string {
	return fmt.Sprintf("transport=tcp,traddr=%s,trsvcid=%d,nqn=%s,hostnqn=%s,hostid=%s%s", p.Address, p.Port, nqn, nvmetest.HostNQN, nvmetest.HostID, more)
}

func deleteController(t *testing.T, name string) {
	t.Helper()
	write(t, filepath.Join("/sys/class/nvme", name, "delete_controller"), "1")
}

// deleteControllers takes down all that this kernel has.
func deleteControllers(t *testing.T) {
	t.Helper()
	for _, line := range controllers(t) {
		name, _, _ := strings.Cut(line, " ")
		deleteController(t, name)
	}
}

func controllerAttribute(t *testing.T, name, attribute string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("/sys/class/nvme", name, attribute))
	ok(t, err)
	return strings.TrimSpace(string(data))
}

// The fake must refuse what this kernel refuses, with the same errno.
func TestNVMeFakeKernelAnswersAsThisOne(t *testing.T) {
	const nqn, theirs = "nqn.test:v", "nqn.test:theirs"
	real, fabrics := newTarget(t), host.NewFabrics("/dev/nvme-fabrics")
	_, err := newHost(t).Connect(program.Soon(t), volumeTarget("nqn.test:none", real.portal())) // loads the module
	if fault.ReasonOf(err) != fault.NVMeDenied {
		t.Fatal(err)
	}
	fake := nvmetest.NewKernel(t, nvmetest.Options{Multipath: multipath(t), StrictHostID: since(t, 6, 5)})
	portals := map[string]nvme.Portal{"real": real.portal(), "fake": fake.AddPortal()}
	for _, s := range []nvmetest.Subsystem{
		{NQN: nqn, Hosts: []string{nvmetest.HostNQN}, Size: 4 * mib}, {NQN: theirs, Hosts: []string{"nqn.test:other"}, Size: 4 * mib},
	} {
		real.Export(s)
		fake.Export(s)
	}
	t.Cleanup(func() { deleteControllers(t) })
	for _, tt := range []struct {
		name string
		say  func(p nvme.Portal) string
	}{
		{"unknown NQN", func(p nvme.Portal) string { return connectRequest("nqn.test:unknown", p, "") }},
		{"a host that is not allowed", func(p nvme.Portal) string { return connectRequest(theirs, p, "") }},
		{"nobody listens", func(p nvme.Portal) string { return connectRequest(nqn, nvme.Portal{Address: p.Address, Port: 9}, "") }},
		{"an unknown option", func(p nvme.Portal) string { return connectRequest(nqn, p, ",colour=blue") }},
		{"an option twice, the last counts", func(p nvme.Portal) string { return connectRequest(nqn, p, ",nqn=nqn.test:unknown") }},
		{"the host NQN twice", func(p nvme.Portal) string { return connectRequest("nqn.test:unknown", p, ",hostnqn="+nvmetest.HostNQN) }},
		{"an option without its value", func(p nvme.Portal) string { return connectRequest(nqn, p, ",ctrl_loss_tmo=") }},
		{"a time-out that is no number", func(p nvme.Portal) string { return connectRequest(nqn, p, ",ctrl_loss_tmo=off") }},
		{"the first", func(p nvme.Portal) string { return connectRequest(nqn, p, ",ctrl_loss_tmo=-1") }},
		{"the same again", func(p nvme.Portal) string { return connectRequest(nqn, p, "") }},
		{"the same host with another ID", func(p nvme.Portal) string {
			return strings.Replace(connectRequest(nqn, p, ""), "hostid=1", "hostid=2", 1)
		}},
		{"another host with the same ID", func(p nvme.Portal) string {
			return fmt.Sprintf("transport=tcp,traddr=%s,trsvcid=%d,nqn=%s,hostnqn=nqn.test:other,hostid=%s", p.Address, p.Port, theirs, controllerAttribute(t, "nvme0", "hostid"))
		}},
	} {
		_, realErr := fabrics.Create(tt.say(portals["real"]))
		_, fakeErr := fake.Create(tt.say(portals["fake"]))
		var want, got syscall.Errno
		if errors.As(realErr, &want) != errors.As(fakeErr, &got) || want != got {
			t.Errorf("%s: this kernel says %v, the fake %v", tt.name, realErr, fakeErr)
		}
		t.Logf("%s: %v", tt.name, realErr)
	}
	if hostID := controllerAttribute(t, "nvme0", "hostid"); since(t, 6, 5) != (hostID == nvmetest.HostID) {
		t.Errorf("after a connect with another host ID the first controller shows %s", hostID)
	}
}

// ctrl_loss_tmo=-1 reads back as "off"; a controller of somebody else's gets our time-outs.
func TestNVMeTimeoutsAreReadAsTheyAreShown(t *testing.T) {
	g, h := newTarget(t), newHost(t)
	g.Export(nvmetest.Subsystem{NQN: "nqn.test:v", Hosts: []string{nvmetest.HostNQN}, Size: 4 * mib})
	t.Cleanup(func() { deleteControllers(t) })
	_, err := h.Connect(program.Soon(t), volumeTarget("nqn.test:v", g.portal())) // loads the module
	ok(t, err)
	deleteControllers(t)
	_, err = host.NewFabrics("/dev/nvme-fabrics").Create(connectRequest("nqn.test:v", g.portal(), ""))
	ok(t, err)
	if loss := controllerAttribute(t, "nvme0", "ctrl_loss_tmo"); loss != "600" {
		t.Errorf("the kernel's own ctrl_loss_tmo is %s", loss)
	}
	d, err := h.Connect(program.Soon(t), volumeTarget("nqn.test:v", g.portal()))
	ok(t, err)
	for attribute, want := range map[string]string{"ctrl_loss_tmo": "off", "reconnect_delay": "2", "fast_io_fail_tmo": "off"} {
		if got := controllerAttribute(t, d.Controller, attribute); got != want {
			t.Errorf("%s of the adopted controller is %s, want %s", attribute, got, want)
		}
	}
	ok(t, h.Disconnect(program.Soon(t), "nqn.test:v", nvmetest.HostNQN, telemetry.DisconnectUnstage))
}

// With multipath the usable disk is the subsystem's, and the controller's is hidden. Without, two portals
// are two disks, so only one is used.
func TestNVMeTwoPortals(t *testing.T) {
	g, h := newTarget(t), newHost(t)
	g.Export(nvmetest.Subsystem{NQN: "nqn.test:v", Hosts: []string{nvmetest.HostNQN}, Size: 4 * mib})
	target := volumeTarget("nqn.test:v", g.portal())
	target.Portals = append(target.Portals, nvme.Portal{Address: "127.0.0.2", Port: nvmePort})
	d, err := h.Connect(program.Soon(t), target)
	ok(t, err)
	paths := 0
	if multipath(t) {
		paths = 2
	}
	if len(controllers(t)) != max(paths, 1) {
		t.Errorf("controllers: %q", controllers(t))
	}
	program.Await(t, "each controller has its hidden disk", func() bool {
		hidden, err := filepath.Glob("/sys/block/nvme*c*n*")
		return err == nil && len(hidden) == paths
	})
	found, err := h.Find(program.Soon(t), "nqn.test:v", nvmetest.HostNQN)
	if err != nil || found.Num != d.Num || strings.Contains(filepath.Base(found.Path), "c") {
		t.Errorf("find gave %+v, %v; connect gave %+v", found, err, d)
	}
	writeData(t, d.Path, 1, mib)
	checkData(t, d.Path, 1, mib)
	ok(t, h.Disconnect(program.Soon(t), "nqn.test:v", nvmetest.HostNQN, telemetry.DisconnectUnstage))
	if left := controllers(t); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// While a mount of a lost device is there, the volume comes back under another name and number. The old
// mount is not mistaken for a use of the new device.
func TestNVMeNumbersChangeUnderAStaleMount(t *testing.T) {
	g, h := newTarget(t), newHost(t)
	const nqn = "nqn.test:v"
	g.Export(nvmetest.Subsystem{NQN: nqn, Hosts: []string{nvmetest.HostNQN}, Size: 64 * mib})
	first, err := h.Connect(program.Soon(t), volumeTarget(nqn, g.portal()))
	ok(t, err)
	runner, dir := host.NewRunner(), t.TempDir()
	_, err = runner.Run(t.Context(), "mkfs.ext4", "-q", first.Path)
	ok(t, err)
	ok(t, host.NewMounts().Mount(first.Path, dir, "ext4", nil))
	writeData(t, filepath.Join(dir, "data"), 1, mib)
	deleteController(t, first.Controller)
	_, err = h.Find(program.Soon(t), nqn, nvmetest.HostNQN)
	if fault.KindOf(err) != fault.NotFound {
		t.Errorf("find after the controller is gone: %v", err)
	}
	second, err := h.Connect(program.Soon(t), volumeTarget(nqn, g.portal()))
	ok(t, err)
	if second.Num == first.Num || second.Path == first.Path {
		t.Errorf("the volume came back as %+v, it was %+v and is still mounted", second, first)
	}
	ok(t, h.Disconnect(program.Soon(t), nqn, nvmetest.HostNQN, telemetry.DisconnectUnstage))
	ok(t, host.NewMounts().Unmount(dir))
	third, err := h.Connect(program.Soon(t), volumeTarget(nqn, g.portal()))
	ok(t, err)
	if third.Path != first.Path {
		t.Errorf("once nothing stale is left it is %+v, at first it was %+v", third, first)
	}
	ok(t, host.NewMounts().Mount(third.Path, dir, "ext4", nil))
	checkData(t, filepath.Join(dir, "data"), 1, mib)
	ok(t, host.NewMounts().Unmount(dir))
	ok(t, h.Disconnect(program.Soon(t), nqn, nvmetest.HostNQN, telemetry.DisconnectUnstage))
}

// A target that answers "no such subsystem" ends a controller at once on newer kernels, ctrl_loss_tmo=-1 or
// not; older ones go on asking (facts/nvme.md §0.1).
func TestNVMeArrayComesBackWithoutTheExport(t *testing.T) {
	g, h := newTarget(t), newHost(t)
	const nqn = "nqn.test:v"
	g.Export(nvmetest.Subsystem{NQN: nqn, Hosts: []string{nvmetest.HostNQN}, Size: 4 * mib})
	d, err := h.Connect(program.Soon(t), volumeTarget(nqn, g.portal()))
	ok(t, err)
	g.remove(g.linked(nqn))
	if since(t, 6, 5) {
		program.Await(t, "the kernel gives the controller up", func() bool { return len(controllers(t)) == 0 })
		_, err := h.Find(program.Soon(t), nqn, nvmetest.HostNQN)
		if fault.KindOf(err) != fault.NotFound {
			t.Errorf("find: %v", err)
		}
		return
	}
	program.Await(t, "the kernel tries again", func() bool { return controllerAttribute(t, d.Controller, "state") == "connecting" })
	_, err = h.Find(program.Soon(t), nqn, nvmetest.HostNQN)
	if fault.ReasonOf(err) != fault.NVMeControllerLost {
		t.Errorf("find: %v", err)
	}
	g.link(g.subsystem(nqn), g.linked(nqn))
	program.Await(t, "it is back", func() bool {
		now, err := h.Find(program.Soon(t), nqn, nvmetest.HostNQN)
		return err == nil && now.Num == d.Num
	})
	g.remove(g.linked(nqn))
	program.Await(t, "the kernel tries again", func() bool { return controllerAttribute(t, d.Controller, "state") == "connecting" })
	ok(t, h.Disconnect(program.Soon(t), nqn, nvmetest.HostNQN, telemetry.DisconnectUnstage))
}

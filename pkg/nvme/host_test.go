package nvme_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme/nvmetest"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

const (
	volume = "nqn.2000-02.com.mikrotik:csi-0123456789abcdef.0a1b2c3d"
	mib    = 1 << 20
)

// rig is a node on a fake kernel with one exported volume.
type rig struct {
	*nvmetest.Kernel
	host   *nvme.Host
	target nvme.Target
}

func newRig(t *testing.T, o nvmetest.Options, change ...func(*nvme.Config)) rig {
	t.Helper()
	k := nvmetest.NewKernel(t, o)
	cfg := k.Config()
	for _, c := range change {
		c(&cfg)
	}
	k.Export(nvmetest.Subsystem{NQN: volume, Hosts: []string{nvmetest.HostNQN}, Size: 8 * mib})
	return rig{Kernel: k, host: newHost(t, cfg), target: nvme.Target{
		NQN: volume, HostNQN: nvmetest.HostNQN, HostID: nvmetest.HostID, Portals: []nvme.Portal{k.AddPortal()},
		Options: nvme.Options{NrIOQueues: 4, CtrlLossTmo: -1, ReconnectDelay: 2, KeepAliveTmo: 5, FastIOFailTmo: -1},
	}}
}

func impatient(c *nvme.Config) {
	c.ConnectTimeout, c.DeviceTimeout = 200*time.Millisecond, 200*time.Millisecond
}

func (r rig) connect(t *testing.T) nvme.Device {
	t.Helper()
	d, err := r.host.Connect(t.Context(), r.target)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	return d
}

func (r rig) disconnect(ctx context.Context) error {
	return r.host.Disconnect(ctx, volume, nvmetest.HostNQN, telemetry.DisconnectUnstage)
}

func (r rig) deletes() (n int) {
	for _, w := range r.Writes() {
		if strings.HasSuffix(w, "delete_controller=1") {
			n++
		}
	}
	return n
}

// eventually polls: what it waits for happens in a goroutine of the code under test.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came to be that %s", what)
		}
	}
}

func wantReason(t *testing.T, err error, want fault.Reason) {
	t.Helper()
	if got := fault.ReasonOf(err); got != want {
		t.Fatalf("error %v of reason %q, want %q", err, got, want)
	}
}

func wantKind(t *testing.T, err error, want fault.Kind) {
	t.Helper()
	if got := fault.KindOf(err); got != want {
		t.Fatalf("error %v of kind %q, want %q", err, got, want)
	}
}

func TestConnectExplainsTheKernelsErrno(t *testing.T) {
	for _, tt := range []struct {
		errno error
		want  fault.Reason
		kind  fault.Kind
	}{
		{unix.EIO, fault.NVMeDenied, fault.Unavailable},
		{unix.EKEYREJECTED, fault.NVMeDenied, fault.Unavailable},
		{unix.ECONNREFUSED, fault.NVMeConnectRefused, fault.Unavailable},
		{unix.ETIMEDOUT, fault.NVMeConnectTimeout, fault.Timeout},
		{unix.EHOSTUNREACH, fault.ReasonUnavailable, fault.Unavailable},
		{unix.EINVAL, fault.ReasonUnavailable, fault.Unavailable},
		{unix.ENOMEM, fault.ReasonUnavailable, fault.Unavailable},
		{unix.EALREADY, fault.ReasonUnavailable, fault.Unavailable}, // and sysfs shows none
		{unix.EOPNOTSUPP, fault.ReasonOther, fault.Precondition},
		{unix.EACCES, fault.ReasonOther, fault.Precondition},
	} {
		t.Run(tt.errno.Error(), func(t *testing.T) {
			r := newRig(t, nvmetest.Options{Multipath: true})
			r.FailCreates(tt.errno)
			_, err := r.host.Connect(t.Context(), r.target)
			wantReason(t, err, tt.want)
			wantKind(t, err, tt.kind)
			if tt.errno != unix.EALREADY && !errors.Is(err, tt.errno) {
				t.Errorf("%v does not lead to %v", err, tt.errno)
			}
			r.connect(t) // nothing of the failure is left
		})
	}
}

func TestConnectRetriesAnInterruptedWrite(t *testing.T) {
	r := newRig(t, nvmetest.Options{})
	r.FailCreates(unix.EINTR, unix.EINTR)
	r.connect(t)
	if n := len(r.Creates()); n != 3 {
		t.Errorf("%d writes, want 3", n)
	}
}

func TestConnectSendsOnlyWhatTheKernelLists(t *testing.T) {
	few := []string{"transport", "traddr", "trsvcid", "nqn", "hostnqn", "hostid", "ctrl_loss_tmo"}
	for name, tt := range map[string]struct {
		o    nvmetest.Options
		want string
	}{
		"Linux 6.1": {nvmetest.Options{}, ",nr_io_queues=4,keep_alive_tmo=5,reconnect_delay=2,ctrl_loss_tmo=-1"},
		"few":       {nvmetest.Options{Known: few}, ",ctrl_loss_tmo=-1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, tt.o)
			r.connect(t)
			want := "transport=tcp,traddr=127.0.0.1,trsvcid=" + strings.Split(r.target.Portals[0].String(), ":")[1] +
				",nqn=" + volume + ",hostnqn=" + nvmetest.HostNQN + ",hostid=" + nvmetest.HostID + tt.want
			if got := r.Creates(); !slices.Equal(got, []string{want}) {
				t.Errorf("wrote %q\nwant  %q", got, want)
			}
		})
	}
}

func TestConnectNeedsAKernelThatKnowsWhoConnects(t *testing.T) {
	r := newRig(t, nvmetest.Options{Known: []string{"transport", "traddr", "trsvcid", "nqn", "hostnqn"}})
	_, err := r.host.Connect(t.Context(), r.target)
	wantKind(t, err, fault.Precondition)
	if len(r.Creates()) > 0 || !strings.Contains(err.Error(), "hostid") {
		t.Errorf("wrote %q, error %v", r.Creates(), err)
	}
}

func TestConnectPredialsOutsideOfTheKernel(t *testing.T) {
	r := newRig(t, nvmetest.Options{})
	r.Silence(r.target.Portals[0])
	_, err := r.host.Connect(t.Context(), r.target)
	wantReason(t, err, fault.NVMeConnectRefused)
	if len(r.Creates()) > 0 {
		t.Errorf("wrote %q although nothing listens", r.Creates())
	}
}

func TestConnectSaysHowToLoadTheModule(t *testing.T) {
	r := newRig(t, nvmetest.Options{NoModule: true}, func(c *nvme.Config) { c.Runner = nvmetest.NewKernel(t, nvmetest.Options{NoModule: true}) })
	_, err := r.host.Connect(t.Context(), r.target) // modprobe runs on another machine: the device stays missing
	wantKind(t, err, fault.Precondition)
	if !strings.Contains(err.Error(), "/dev") {
		t.Errorf("the error gives no fix: %v", err)
	}
}

func TestConnectWaitsForALateDevice(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	release := r.HoldDevices()
	done := make(chan error, 1)
	go func() {
		_, err := r.host.Connect(t.Context(), r.target)
		done <- err
	}()
	eventually(t, "the controller is there", func() bool { return len(r.Controllers()) == 1 })
	release()
	if err := <-done; err != nil {
		t.Errorf("connect: %v", err)
	}
}

func TestConnectTakesDownAControllerWithoutADevice(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true}, impatient)
	release := r.HoldDevices()
	defer release()
	_, err := r.host.Connect(t.Context(), r.target)
	wantReason(t, err, fault.NVMeDeviceTimeout)
	if got := r.Controllers(); len(got) > 0 {
		t.Errorf("%q is left", got)
	}
}

func TestConnectNoticesThatTheKernelGaveUp(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	release := r.HoldDevices()
	defer release()
	done := make(chan error, 1)
	go func() {
		_, err := r.host.Connect(t.Context(), r.target)
		done <- err
	}()
	eventually(t, "the controller is there", func() bool { return len(r.Controllers()) == 1 })
	r.Drop("nvme0") // a DNR answer on Linux 6.12 (facts/nvme.md §0.1)
	wantReason(t, <-done, fault.NVMeControllerLost)
}

package nvme_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme/nvmetest"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

func (r rig) status(t *testing.T) nvme.Status {
	t.Helper()
	s, err := r.host.Status(t.Context(), volume, nvmetest.HostNQN)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStatusFollowsTheController(t *testing.T) {
	for name, o := range kernels() {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, o)
			if s := r.status(t); s != (nvme.Status{Link: nvme.LinkGone}) {
				t.Errorf("before: %+v", s)
			}
			d := r.connect(t)
			if s := r.status(t); s != (nvme.Status{Link: nvme.LinkLive, Live: 1, Num: d.Num, Path: d.Path, Shared: o.Multipath && !o.SingleController}) {
				t.Errorf("connected: %+v, the device is %+v", s, d)
			}
			r.SetState(d.Controller, "connecting")
			if s := r.status(t); s != (nvme.Status{Link: nvme.LinkAway, Num: d.Num, Path: d.Path, State: "connecting", Away: 1, Shared: o.Multipath && !o.SingleController}) {
				t.Errorf("target away: %+v", s)
			}
			r.SetState(d.Controller, "live")
			r.DropNamespace(d.Controller)
			if s := r.status(t); s != (nvme.Status{Link: nvme.LinkLive, Live: 1}) {
				t.Errorf("namespace gone: %+v", s)
			}
			if err := r.host.Refresh(t.Context(), volume, nvmetest.HostNQN); err != nil {
				t.Fatal(err)
			}
			if s := r.status(t); s.Num.IsZero() {
				t.Errorf("after a rescan: %+v", s)
			}
			r.Drop(d.Controller)
			if s := r.status(t); s != (nvme.Status{Link: nvme.LinkGone}) {
				t.Errorf("controller gone: %+v", s)
			}
		})
	}
}

// The device is not opened for it: that can hang, and looking must not.
func TestStatusOpensNothing(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true}, func(c *nvme.Config) { c.Devices = unopened{c.Devices.(*nvmetest.Kernel), t} })
	r.Autoconnect(r.target)
	eventually(t, "the device is there", func() bool { return !r.status(t).Num.IsZero() })
}

type unopened struct {
	*nvmetest.Kernel
	t *testing.T
}

func (u unopened) Identify(path string) (host.DevNum, uint64, error) {
	u.t.Errorf("%s was opened", path)
	return host.DevNum{}, 0, unix.EIO
}

func TestStatusOfOnePathAwayIsLive(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	r.target.Portals = append(r.target.Portals, r.AddPortal())
	d := r.connect(t)
	eventually(t, "both paths are there", func() bool { return r.status(t).Live == 2 })
	r.SetState(d.Controller, "connecting")
	if s := r.status(t); s.Link != nvme.LinkLive || s.Live != 1 || s.Num != d.Num || s.State != "connecting" {
		t.Errorf("one path away: %+v", s)
	}
}

func TestRevokeTakesAHeldDeviceFromItsUsers(t *testing.T) {
	for name, o := range kernels() {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, o)
			d := r.connect(t)
			release := r.Hold(d.Path)
			defer release()
			r.Mount(host.MountPoint{Path: "/staging", Dev: d.Num})
			wantKind(t, r.disconnect(t.Context()), fault.Busy)
			if err := r.host.Revoke(t.Context(), volume, nvmetest.HostNQN, telemetry.DisconnectRecovery); err != nil {
				t.Fatal(err)
			}
			if c := r.Controllers(); len(c) != 0 {
				t.Errorf("controllers left: %q", c)
			}
			if err := r.host.Revoke(t.Context(), volume, nvmetest.HostNQN, telemetry.DisconnectRecovery); err != nil {
				t.Errorf("a second time: %v", err)
			}
		})
	}
}

func TestRevokeTouchesOnlyExactlyThatNQNAndHost(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	d := r.connect(t)
	for _, other := range []struct{ nqn, host string }{{volume + "0", nvmetest.HostNQN}, {volume[:len(volume)-1], nvmetest.HostNQN}, {volume, nvmetest.HostNQN + "0"}} {
		if err := r.host.Revoke(t.Context(), other.nqn, other.host, telemetry.DisconnectRecovery); err != nil {
			t.Error(err)
		}
	}
	if s := r.status(t); s.Num != d.Num {
		t.Errorf("status %+v", s)
	}
}

func TestACancelledRevokeRevokesNothing(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	r.connect(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.host.Revoke(ctx, volume, nvmetest.HostNQN, telemetry.DisconnectRecovery); err == nil || r.deletes() != 0 {
		t.Errorf("%v, writes %q", err, r.Writes())
	}
}

func TestRevokeThatHangsIsReported(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	r.connect(t)
	release := r.HoldDeletes()
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	wantKind(t, r.host.Revoke(ctx, volume, nvmetest.HostNQN, telemetry.DisconnectRecovery), fault.Unavailable)
}

// A kernel that can keeps the head for a while, and gives it up where it is wanted gone.
func TestTheHeadOutlivesItsControllerForAWhile(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true, DelayedRemoval: true})
	r.target.Fenced = true
	d := r.connect(t)
	attr := filepath.Base(d.Path) + "/delayed_removal_secs="
	if w := r.Writes(); !slices.Contains(w, attr+"60") {
		t.Errorf("writes %q", w)
	}
	if err := r.disconnect(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := r.Writes()
	dropped := slices.Index(w, attr+"0")
	deleted := slices.IndexFunc(w, func(s string) bool { return strings.HasSuffix(s, "delete_controller=1") })
	if dropped < 0 || dropped > deleted {
		t.Errorf("writes %q: the head must go with its controller", w)
	}
}

func TestWhatAControllerDidNotTakeIsSaidByName(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	r := newRig(t, nvmetest.Options{Multipath: true, Queues: 2}, func(c *nvme.Config) { c.Log = zap.New(core) })
	r.connect(t)
	said := logs.FilterMessageSnippet("did not take a parameter").All()
	if len(said) != 1 || said[0].ContextMap()["parameter"] != "nr_io_queues=4" || said[0].ContextMap()["got"] != "3" {
		t.Errorf("said %+v", said)
	}
}

func TestWhatTheKernelRefusesNamesTheParameters(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	r.FailCreates(unix.EINVAL)
	_, err := r.host.Connect(t.Context(), r.target)
	wantKind(t, err, fault.Unavailable)
	for _, text := range []string{"nr_io_queues=4", "ctrl_loss_tmo=-1", "reconnect_delay=2", "keep_alive_tmo=5"} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%v does not name %s", err, text)
		}
	}
}

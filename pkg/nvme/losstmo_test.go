package nvme_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme/nvmetest"
)

// lossOf is what sysfs shows of a controller's ctrl_loss_tmo.
func (r rig) lossOf(t *testing.T, controller string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.Config().Sys, "class/nvme", controller, "ctrl_loss_tmo"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func (r rig) set(t *testing.T, controller, attr, value string) {
	t.Helper()
	if err := r.Set(filepath.Join(r.Config().Sys, "class/nvme", controller, attr), value); err != nil {
		t.Fatal(err)
	}
}

func TestCtrlLossTmoIsLoweredOnceAndRestored(t *testing.T) {
	for _, tt := range []struct {
		name                  string
		delay, own            int
		before, lowered, back string
		lowers                int
	}{
		{"never", 2, -1, "off", "6", "off", 1},
		{"ten minutes", 10, 600, "600", "10", "600", 1},
		{"a second more than the kernel tells apart", 4, 9, "12", "8", "12", 1},
		{"as soon", 2, 5, "6", "6", "6", 0},
		{"as soon, by the kernel's rounding", 10, 8, "10", "10", "10", 0},
		{"sooner", 2, 1, "2", "2", "2", 0},
		{"at once", 2, 0, "0", "0", "0", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, nvmetest.Options{Multipath: true})
			r.target.Options.ReconnectDelay = tt.delay
			name := r.connect(t).Controller
			r.set(t, name, "ctrl_loss_tmo", strconv.Itoa(tt.own))
			for _, step := range []struct {
				what string
				do   func() (int, error)
				n    int
				want string
			}{
				{"restore before it is lowered", func() (int, error) {
					return r.host.RestoreCtrlLossTmo(t.Context(), volume, nvmetest.HostNQN, 5, tt.own)
				}, 0, tt.before},
				{"lower", func() (int, error) { return r.host.LowerCtrlLossTmo(t.Context(), volume, nvmetest.HostNQN, 5) }, tt.lowers, tt.lowered},
				{"lower again", func() (int, error) { return r.host.LowerCtrlLossTmo(t.Context(), volume, nvmetest.HostNQN, 5) }, 0, tt.lowered},
				{"restore", func() (int, error) {
					return r.host.RestoreCtrlLossTmo(t.Context(), volume, nvmetest.HostNQN, 5, tt.own)
				}, tt.lowers, tt.back},
				{"restore again", func() (int, error) {
					return r.host.RestoreCtrlLossTmo(t.Context(), volume, nvmetest.HostNQN, 5, tt.own)
				}, 0, tt.back},
			} {
				if n, err := step.do(); err != nil || n != step.n {
					t.Errorf("%s: %d changed, %v; want %d", step.what, n, err, step.n)
				}
				if got := r.lossOf(t, name); got != step.want {
					t.Errorf("%s: ctrl_loss_tmo is %s, want %s", step.what, got, step.want)
				}
			}
		})
	}
}

func TestCtrlLossTmoOfOthersIsLeftAlone(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	r.AddPCIe()
	ours := r.connect(t).Controller
	second := r.target
	second.Portals = append(second.Portals, r.AddPortal())
	if _, err := r.host.Connect(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	longer, foreign := r.target, r.target
	longer.NQN = volume + "1"
	foreign.HostNQN, foreign.HostID = "nqn.test:host", "33333333-2222-5333-8444-555555555555"
	r.Export(nvmetest.Subsystem{NQN: longer.NQN, Size: mib})
	r.Export(nvmetest.Subsystem{NQN: volume, Size: mib})
	others := []string{r.Autoconnect(longer), r.Autoconnect(foreign)}

	if n, err := r.host.LowerCtrlLossTmo(t.Context(), volume, nvmetest.HostNQN, 5); err != nil || n != 2 {
		t.Errorf("%d changed, %v; want both of this volume", n, err)
	}
	if got := r.lossOf(t, ours); got != "6" {
		t.Errorf("ours is %s", got)
	}
	for _, name := range others {
		if got := r.lossOf(t, name); got != "600" {
			t.Errorf("%s, which is not ours, is %s", name, got)
		}
	}
	for _, nqn := range []string{"", "nqn.test:none"} {
		if n, err := r.host.LowerCtrlLossTmo(t.Context(), nqn, nvmetest.HostNQN, 5); err != nil || n != 0 {
			t.Errorf("%q: %d changed, %v", nqn, n, err)
		}
	}
	if got := len(r.Writes()); got != 2 {
		t.Errorf("wrote %q", r.Writes())
	}
}

// What an administrator has set meanwhile is not ours to change.
func TestRestoreLeavesAnotherValueAlone(t *testing.T) {
	r := newRig(t, nvmetest.Options{})
	name := r.connect(t).Controller
	r.set(t, name, "ctrl_loss_tmo", "30")
	if n, err := r.host.RestoreCtrlLossTmo(t.Context(), volume, nvmetest.HostNQN, 5, -1); err != nil || n != 0 || r.lossOf(t, name) != "30" {
		t.Errorf("%d changed, %v; it is %s now", n, err, r.lossOf(t, name))
	}
}

func TestCtrlLossTmoIsNotWrittenWhereItCannotBeTold(t *testing.T) {
	for _, tt := range []struct {
		name string
		to   string
		why  error
		kind fault.Kind // "" = nothing to set, and no error
	}{
		{"the list has a hole", "/subsysnqn", unix.EIO, fault.Unavailable},
		{"it cannot be read", "/ctrl_loss_tmo", unix.EIO, fault.Unavailable},
		{"its unit cannot be read", "/reconnect_delay", unix.EIO, fault.Unavailable},
		{"the kernel has no such attribute", "/ctrl_loss_tmo", unix.ENOENT, ""},
		{"the controller goes", "/reconnect_delay", unix.ENODEV, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, b := newBlindRig(t, nvmetest.Options{Multipath: true})
			name := r.connect(t).Controller
			b.set(tt.to, tt.why, -1)
			n, err := r.host.LowerCtrlLossTmo(t.Context(), volume, nvmetest.HostNQN, 5)
			if n != 0 || fault.KindOf(err) != tt.kind && (err != nil || tt.kind != "") {
				t.Errorf("%d changed, %v", n, err)
			}
			b.set("", nil, 0)
			if len(r.Writes()) > 0 || r.lossOf(t, name) != "off" {
				t.Errorf("wrote %q", r.Writes())
			}
		})
	}
}

// Linux takes a reconnect_delay of 0, and divides by it at the next write of ctrl_loss_tmo.
func TestCtrlLossTmoIsNotWrittenBesideADelayOfZero(t *testing.T) {
	r := newRig(t, nvmetest.Options{})
	r.set(t, r.connect(t).Controller, "reconnect_delay", "0")
	n, err := r.host.LowerCtrlLossTmo(t.Context(), volume, nvmetest.HostNQN, 5)
	if n != 0 || err == nil || !strings.Contains(err.Error(), "reconnect_delay") {
		t.Errorf("%d changed, %v", n, err)
	}
}

// hanging never answers to a write of ctrl_loss_tmo, until release.
type hanging struct {
	*nvmetest.Kernel
	release chan struct{}
}

func (h hanging) Write(dir *host.Directory, name, _ string) error {
	<-h.release
	return &os.PathError{Op: "write", Path: filepath.Join(dir.Path(), name), Err: unix.EIO}
}

func TestCtrlLossTmoDoesNotWaitPastItsDeadline(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	r.connect(t)
	cfg := r.Config()
	h := hanging{Kernel: r.Kernel, release: make(chan struct{})}
	defer close(h.release)
	cfg.Attributes = h
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	n, err := newHost(t, cfg).LowerCtrlLossTmo(ctx, volume, nvmetest.HostNQN, 5)
	if n != 0 {
		t.Errorf("%d changed", n)
	}
	wantKind(t, err, fault.Unavailable)
}

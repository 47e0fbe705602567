package nvme_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme/nvmetest"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// The host's autoconnect makes controllers with ctrl_loss_tmo=600 (longhorn#13651).
func TestConnectAdoptsAndTunesAForeignController(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	name := r.Autoconnect(r.target)
	d := r.connect(t)
	if !d.Adopted || d.Controller != name || len(r.Creates()) > 0 {
		t.Errorf("got %+v with %q, want %s adopted", d, r.Creates(), name)
	}
	want := []string{name + "/reconnect_delay=2", name + "/ctrl_loss_tmo=-1"}
	if got := r.Writes(); !slices.Equal(got, want) {
		t.Errorf("wrote %q, want %q", got, want)
	}
	r.connect(t)
	if got := r.Writes(); !slices.Equal(got, want) {
		t.Errorf("the second adoption wrote again: %q", got)
	}
}

func TestConnectAdoptsWhatAppearedDuringTheWrite(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	release := r.HoldCreates()
	done := make(chan error, 1)
	go func() {
		d, err := r.host.Connect(t.Context(), r.target)
		if err == nil && !d.Adopted {
			err = errors.New("it was not adopted")
		}
		done <- err
	}()
	eventually(t, "the write runs", func() bool { return len(r.Creates()) == 1 })
	r.Autoconnect(r.target)
	release()
	if err := <-done; err != nil {
		t.Errorf("connect after EALREADY: %v", err)
	}
}

func TestConnectWaitsForAControllerThatReconnects(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	d := r.connect(t)
	r.SetState(d.Controller, "connecting")
	_, err := r.host.Find(t.Context(), volume, nvmetest.HostNQN)
	wantReason(t, err, fault.NVMeControllerLost)
	done := make(chan error, 1)
	go func() {
		_, err := r.host.Connect(t.Context(), r.target)
		done <- err
	}()
	eventually(t, "connect watches", func() bool { return r.Watchers() == 1 })
	r.SetState(d.Controller, "live")
	if err := <-done; err != nil {
		t.Errorf("connect once it is live again: %v", err)
	}
}

func TestConnectGivesUpOnADeadTargetAndLeavesTheControllerAlone(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true}, impatient)
	name := r.Autoconnect(r.target)
	r.SetState(name, "connecting")
	_, err := r.host.Connect(t.Context(), r.target)
	wantReason(t, err, fault.NVMeConnectTimeout)
	if got := r.Controllers(); !slices.Equal(got, []string{name}) || len(r.Writes()) > 0 {
		t.Errorf("controllers %q, writes %q: a controller this call did not make was touched", got, r.Writes())
	}
}

func TestConnectUsesTheHostIDTheKernelKnows(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true, StrictHostID: true})
	const other = "nqn.test:other"
	r.Export(nvmetest.Subsystem{NQN: other, Size: mib})
	foreign := r.target
	foreign.NQN, foreign.HostID = other, "22222222-2222-5333-8444-555555555555"
	r.Autoconnect(foreign)
	r.connect(t)
	if got := r.Creates()[0]; !strings.Contains(got, "hostid="+foreign.HostID) {
		t.Errorf("wrote %q, which the kernel refuses beside %s", got, foreign.HostID)
	}
}

func TestStatesCountOurControllers(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	r.AddPCIe()
	d := r.connect(t)
	foreign := r.target
	foreign.NQN, foreign.HostNQN, foreign.HostID = "nqn.test:root", "nqn.test:host", "33333333-2222-5333-8444-555555555555"
	r.Export(nvmetest.Subsystem{NQN: foreign.NQN, Size: mib})
	r.Autoconnect(foreign)
	for kernel, want := range map[string]telemetry.ControllerState{
		"live": telemetry.ControllerLive, "connecting": telemetry.ControllerConnecting, "resetting": telemetry.ControllerResetting,
		"deleting (no IO)": telemetry.ControllerDeleting, "dead": telemetry.ControllerDead, "new": telemetry.ControllerUnknown,
	} {
		r.SetState(d.Controller, kernel)
		states, err := r.host.States()
		if err != nil || states[want] != 1 || len(states) != len(telemetry.ControllerStates()) {
			t.Errorf("%s: %v, %v; want one %s", kernel, states, err, want)
		}
		for state, n := range states {
			if state != want && n != 0 {
				t.Errorf("%s: %d controllers are %s", kernel, n, state)
			}
		}
	}
}

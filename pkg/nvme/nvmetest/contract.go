package nvmetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// Connector is what the driver asks of this machine's side of NVMe/TCP.
type Connector interface {
	Connect(ctx context.Context, t nvme.Target) (nvme.Device, error)
	Find(ctx context.Context, nqn, hostNQN string) (nvme.Device, error)
	Still(ctx context.Context, nqn, hostNQN string, held nvme.Device) error
	Rescan(ctx context.Context, nqn, hostNQN string, want uint64) (nvme.Device, error)
	Disconnect(ctx context.Context, nqn, hostNQN string, reason telemetry.DisconnectReason) error
	Attached(hostNQN string) ([]string, error)
}

// Array is the target.
type Array interface {
	Export(s Subsystem)
	Unexport(nqn string)
	Resize(nqn string, size uint64)
}

// Setup is a fresh machine and a fresh target.
type Setup struct {
	Connector Connector
	Array     Array
	Portal    nvme.Portal
	// Hold opens the device exclusively until release.
	Hold func(path string) (release func())
}

// otherHost is a second machine's name.
const otherHost = "nqn.2014-08.org.nvmexpress:uuid:99999999-2222-5333-8444-555555555555"

const mib = 1 << 20

// RunContract checks the behaviour every connector has, each time on a fresh setup.
func RunContract(t *testing.T, setup func(t *testing.T) Setup) {
	for _, c := range []struct {
		name string
		run  func(s suite, t *testing.T)
	}{
		{"connect gives a verified device, again and again the same", suite.connectIsIdempotent},
		{"an unknown NQN is refused and leaves nothing", suite.unknownIsRefused},
		{"a host that is not allowed is refused", suite.otherHostIsRefused},
		{"a wrong target is invalid", suite.wrongTargetIsInvalid},
		{"find and disconnect match the whole NQN and host NQN", suite.matchIsExact},
		{"a device is still there until it is disconnected", suite.isStillThere},
		{"an attachment outlives its export", suite.survivesUnexport},
		{"rescan sees growth", suite.rescanSeesGrowth},
		{"rescan gives up at its deadline", suite.rescanGivesUp},
		{"disconnect refuses while the device is held", suite.disconnectRefusesHeld},
		{"disconnect is idempotent and connect works again", suite.disconnectIsIdempotent},
		{"a cancelled call does nothing", suite.cancelledDoesNothing},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(suite{Setup: setup(t), ctx: deadline(t)}, t) })
	}
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

type suite struct {
	Setup
	ctx context.Context
}

func (s suite) target(nqn string) nvme.Target {
	return nvme.Target{
		NQN: nqn, HostNQN: HostNQN, HostID: HostID, Portals: []nvme.Portal{s.Portal},
		Options: nvme.Options{NrIOQueues: 2, CtrlLossTmo: -1, ReconnectDelay: 2, KeepAliveTmo: 5, FastIOFailTmo: -1},
	}
}

// connect exports and connects a volume, and disconnects it at the end of the test.
func (s suite) connect(t *testing.T, nqn string, size uint64) nvme.Device {
	t.Helper()
	s.Array.Export(Subsystem{NQN: nqn, Hosts: []string{HostNQN}, Size: size})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := s.Connector.Disconnect(ctx, nqn, HostNQN, telemetry.DisconnectUnstage); err != nil {
			t.Errorf("disconnect at the end: %v", err)
		}
	})
	d, err := s.Connector.Connect(s.ctx, s.target(nqn))
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	return d
}

func (s suite) attached(t *testing.T, want ...string) {
	t.Helper()
	got, err := s.Connector.Attached(HostNQN)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("attached: %q, %v; want %q", got, err, want)
	}
}

func wantReason(t *testing.T, what string, err error, want fault.Reason) {
	t.Helper()
	if got := fault.ReasonOf(err); got != want {
		t.Errorf("%s: error %v of reason %q, want %q", what, err, got, want)
	}
}

func (s suite) connectIsIdempotent(t *testing.T) {
	const nqn = "nqn.2000-02.com.mikrotik:csi-one.0a1b2c3d"
	first := s.connect(t, nqn, 8*mib)
	if first.Size != 8*mib || first.Num.IsZero() || first.Path == "" || first.Controller == "" || first.Adopted {
		t.Errorf("first connect gave %+v", first)
	}
	again, err := s.Connector.Connect(s.ctx, s.target(nqn))
	if err != nil || !again.Adopted {
		t.Fatalf("second connect: %+v, %v; want the adopted controller", again, err)
	}
	found, err := s.Connector.Find(s.ctx, nqn, HostNQN)
	if err != nil || found != again || again.Num != first.Num {
		t.Errorf("find gave %+v, %v; connect gave %+v, then %+v", found, err, first, again)
	}
	s.attached(t, nqn)
}

func (s suite) isStillThere(t *testing.T) {
	const nqn = "nqn.2000-02.com.mikrotik:csi-still.0a1b2c3d"
	d := s.connect(t, nqn, 8*mib)
	release := s.Hold(d.Path)
	if err := s.Connector.Still(s.ctx, nqn, HostNQN, d); err != nil {
		t.Errorf("still there: %v", err)
	}
	if err := s.Connector.Still(s.ctx, nqn, otherHost, d); err == nil {
		t.Error("it is there for another host")
	}
	if err := s.Connector.Still(s.ctx, nqn+"0", HostNQN, d); err == nil {
		t.Error("it is there under another NQN")
	}
	release()
	if err := s.Connector.Disconnect(s.ctx, nqn, HostNQN, telemetry.DisconnectUnstage); err != nil {
		t.Fatal(err)
	}
	if err := s.Connector.Still(s.ctx, nqn, HostNQN, d); err == nil {
		t.Error("it is there after it was disconnected")
	}
}

func (s suite) unknownIsRefused(t *testing.T) {
	s.Array.Export(Subsystem{NQN: "nqn.test:another", Size: mib})
	_, err := s.Connector.Connect(s.ctx, s.target("nqn.test:unknown"))
	wantReason(t, "connect", err, fault.NVMeDenied)
	_, err = s.Connector.Find(s.ctx, "nqn.test:unknown", HostNQN)
	wantReason(t, "find", err, fault.ReasonNotFound)
	s.attached(t)
}

func (s suite) otherHostIsRefused(t *testing.T) {
	s.Array.Export(Subsystem{NQN: "nqn.test:theirs", Hosts: []string{otherHost}, Size: mib})
	_, err := s.Connector.Connect(s.ctx, s.target("nqn.test:theirs"))
	wantReason(t, "connect", err, fault.NVMeDenied)
	s.attached(t)
}

func (s suite) wrongTargetIsInvalid(t *testing.T) {
	for name, spoil := range map[string]func(*nvme.Target){
		"NQN with a comma":     func(t *nvme.Target) { t.NQN = "nqn.test:a,hostnqn=nqn.x" },
		"NQN with a slash":     func(t *nvme.Target) { t.NQN = "nqn.test:../../x" },
		"host NQN, empty":      func(t *nvme.Target) { t.HostNQN = "" },
		"host ID, no UUID":     func(t *nvme.Target) { t.HostID = "node-1" },
		"portal, a name":       func(t *nvme.Target) { t.Portals = []nvme.Portal{{Address: "array.example", Port: 4420}} },
		"portal, port 0":       func(t *nvme.Target) { t.Portals = []nvme.Portal{{Address: "192.0.2.1"}} },
		"portals, none":        func(t *nvme.Target) { t.Portals = nil },
		"NQN longer than 223":  func(t *nvme.Target) { t.NQN = "nqn." + string(make([]byte, 220)) },
		"NQN, control letters": func(t *nvme.Target) { t.NQN = "nqn.test:\n" },
	} {
		target := s.target("nqn.test:v")
		spoil(&target)
		_, err := s.Connector.Connect(s.ctx, target)
		wantReason(t, name, err, fault.ReasonInvalidArgument)
	}
}

func (s suite) matchIsExact(t *testing.T) {
	s.connect(t, "nqn.test:v10", 4*mib)
	for _, other := range []struct{ nqn, host string }{{"nqn.test:v1", HostNQN}, {"nqn.test:v10", otherHost}, {"nqn.test:v100", HostNQN}} {
		_, err := s.Connector.Find(s.ctx, other.nqn, other.host)
		wantReason(t, "find "+other.nqn, err, fault.ReasonNotFound)
		if err := s.Connector.Disconnect(s.ctx, other.nqn, other.host, telemetry.DisconnectUnstage); err != nil {
			t.Errorf("disconnect %s as %s: %v", other.nqn, other.host, err)
		}
	}
	s.attached(t, "nqn.test:v10")
	if nqns, err := s.Connector.Attached(otherHost); err != nil || len(nqns) > 0 {
		t.Errorf("attached by another host: %q, %v", nqns, err)
	}
}

func (s suite) survivesUnexport(t *testing.T) {
	first := s.connect(t, "nqn.test:v", 4*mib)
	s.Array.Unexport("nqn.test:v")
	found, err := s.Connector.Find(s.ctx, "nqn.test:v", HostNQN)
	if err != nil || found.Num != first.Num {
		t.Errorf("find gave %+v, %v after unexport, want %+v", found, err, first)
	}
	if _, err := s.Connector.Connect(s.ctx, s.target("nqn.test:v")); err != nil {
		t.Errorf("connect to what is connected: %v", err)
	}
}

func (s suite) rescanSeesGrowth(t *testing.T) {
	first := s.connect(t, "nqn.test:v", 4*mib)
	same, err := s.Connector.Rescan(s.ctx, "nqn.test:v", HostNQN, 4*mib)
	if err != nil || same.Size != 4*mib {
		t.Fatalf("rescan without growth: %+v, %v", same, err)
	}
	s.Array.Resize("nqn.test:v", 16*mib)
	grown, err := s.Connector.Rescan(s.ctx, "nqn.test:v", HostNQN, 16*mib)
	if err != nil || grown.Size != 16*mib || grown.Num != first.Num {
		t.Errorf("rescan gave %+v, %v; want 16 MiB of device %s", grown, err, first.Num)
	}
	_, err = s.Connector.Rescan(s.ctx, "nqn.test:none", HostNQN, mib)
	wantReason(t, "rescan of what is not there", err, fault.ReasonNotFound)
}

func (s suite) rescanGivesUp(t *testing.T) {
	s.connect(t, "nqn.test:v", 4*mib)
	ctx, cancel := context.WithTimeout(s.ctx, 300*time.Millisecond)
	defer cancel()
	_, err := s.Connector.Rescan(ctx, "nqn.test:v", HostNQN, 64*mib)
	if fault.KindOf(err) != fault.Timeout {
		t.Errorf("rescan to a size that never comes: %v of kind %q, want a timeout", err, fault.KindOf(err))
	}
}

func (s suite) disconnectRefusesHeld(t *testing.T) {
	d := s.connect(t, "nqn.test:v", 4*mib)
	release := s.Hold(d.Path)
	defer release()
	err := s.Connector.Disconnect(s.ctx, "nqn.test:v", HostNQN, telemetry.DisconnectUnstage)
	if fault.KindOf(err) != fault.Busy {
		t.Errorf("disconnect of a held device: %v of kind %q, want busy", err, fault.KindOf(err))
	}
	found, err := s.Connector.Find(s.ctx, "nqn.test:v", HostNQN)
	if err != nil || found.Num != d.Num {
		t.Errorf("after the refusal find gave %+v, %v; want %+v untouched", found, err, d)
	}
}

func (s suite) disconnectIsIdempotent(t *testing.T) {
	s.connect(t, "nqn.test:v", 4*mib)
	for range 2 {
		if err := s.Connector.Disconnect(s.ctx, "nqn.test:v", HostNQN, telemetry.DisconnectUnstage); err != nil {
			t.Fatalf("disconnect: %v", err)
		}
		s.attached(t)
	}
	_, err := s.Connector.Find(s.ctx, "nqn.test:v", HostNQN)
	wantReason(t, "find", err, fault.ReasonNotFound)
	if _, err := s.Connector.Connect(s.ctx, s.target("nqn.test:v")); err != nil {
		t.Errorf("connect again: %v", err)
	}
}

func (s suite) cancelledDoesNothing(t *testing.T) {
	s.Array.Export(Subsystem{NQN: "nqn.test:v", Size: 4 * mib})
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	if _, err := s.Connector.Connect(ctx, s.target("nqn.test:v")); !errors.Is(err, context.Canceled) {
		t.Errorf("connect with a cancelled context: %v", err)
	}
	s.attached(t)
	d := s.connect(t, "nqn.test:w", 4*mib)
	if err := s.Connector.Still(ctx, "nqn.test:w", HostNQN, d); !errors.Is(err, context.Canceled) {
		t.Errorf("still, with a cancelled context: %v: who is told that all is well goes on", err)
	}
	err := s.Connector.Disconnect(ctx, "nqn.test:w", HostNQN, telemetry.DisconnectUnstage)
	if err == nil {
		t.Error("disconnect with a cancelled context claims to be done")
	}
}

package check_test

import (
	"context"
	"sync"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// fakeHost connects to what the simulated array says it exports, to whom it says it does: as a kernel, it
// loses a session with its export, and keeps asking for the same NQN.
type fakeHost struct {
	mu       sync.Mutex
	sim      *rdssim.Array
	sessions map[string]*fakeSession
	refused  error // every connect
	anybody  bool  // the array lets in anybody
	deaf     bool  // a session does not see a new size
	undying  bool  // a session outlives its export
	risen    bool  // a session comes back under another NQN
	most     int   // sessions at once
	fragile  bool  // a session does not live
}

type fakeSession struct {
	nqn, host string
	size      uint64
	cut       bool
}

func (h *fakeHost) exported(nqn string) (rdssim.Item, bool) {
	for _, item := range h.sim.Items() {
		if item.Exported && item.NQN == nqn {
			return item, true
		}
	}
	return rdssim.Item{}, false
}

func (h *fakeHost) Connect(_ context.Context, t nvme.Target) (nvme.Device, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	item, there := h.exported(t.NQN)
	switch {
	case h.refused != nil:
		return nvme.Device{}, h.refused
	case !there, !h.anybody && !h.sim.MayConnect(t.NQN, t.HostNQN):
		return nvme.Device{}, fault.Errorf("connect", fault.NVMeDenied, "the target refuses")
	}
	h.sessions[t.NQN+t.HostNQN] = &fakeSession{nqn: t.NQN, host: t.HostNQN, size: item.Size}
	h.most = max(h.most, len(h.sessions))
	return nvme.Device{Size: item.Size}, nil
}

func (h *fakeHost) Status(_ context.Context, nqn, host string) (nvme.Status, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.sessions[nqn+host]
	if s == nil || h.fragile {
		return nvme.Status{Link: nvme.LinkGone}, nil
	}
	_, exported := h.exported(nqn)
	if !exported && !h.undying && !s.cut {
		s.cut = true
		return nvme.Status{Link: nvme.LinkAway}, nil
	}
	if exported && !s.cut || h.undying || h.risen {
		return nvme.Status{Link: nvme.LinkLive}, nil
	}
	return nvme.Status{Link: nvme.LinkAway}, nil
}

func (h *fakeHost) Rescan(_ context.Context, nqn, host string, want uint64) (nvme.Device, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	item, _ := h.exported(nqn)
	if h.deaf || item.Size < want || h.sessions[nqn+host] == nil {
		return nvme.Device{}, fault.Errorf("rescan", fault.NVMeDeviceTimeout, "it has fewer bytes than expected")
	}
	return nvme.Device{Size: item.Size}, nil
}

func (h *fakeHost) Disconnect(_ context.Context, nqn, host string, _ telemetry.DisconnectReason) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.sessions, nqn+host)
	return nil
}

func (h *fakeHost) left() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.sessions)
}

package nvmetest

import "sync"

// gate holds whoever comes to it while it is shut. The zero value is open.
type gate struct {
	mu   sync.Mutex
	shut chan struct{}
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut == nil {
		g.shut = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		close(g.shut)
		g.shut = nil
	}
}

func (g *gate) pass() {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut != nil {
		<-shut
	}
}

// HoldCreates makes writes to /dev/nvme-fabrics hang until release.
func (k *Kernel) HoldCreates() (release func()) {
	k.createGate.close()
	return k.createGate.open
}

// HoldDevices keeps block devices from appearing until release.
func (k *Kernel) HoldDevices() (release func()) {
	k.deviceGate.close()
	return k.deviceGate.open
}

// HoldDeletes makes writes to delete_controller hang until release.
func (k *Kernel) HoldDeletes() (release func()) {
	k.deleteGate.close()
	return k.deleteGate.open
}

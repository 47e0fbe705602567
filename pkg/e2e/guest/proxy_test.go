package guest

import (
	"io"
	"net"
	"slices"
	"sync"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

// proxy stands between an initiator and a target, since the guest's kernel has no packet filter. Where it
// listens is its portal.
type proxy struct {
	t      *testing.T
	portal nvme.Portal
	to     string

	mu       sync.Mutex
	passes   *sync.Cond // black is guarded by mu
	black    bool
	closed   bool
	listener net.Listener // nil while cut
	conns    []net.Conn
	running  sync.WaitGroup
}

// newProxy listens at a free port of this machine, and forwards to a portal.
func newProxy(t *testing.T, to nvme.Portal) *proxy {
	t.Helper()
	return newProxyAt(t, "127.0.0.1:0", to)
}

// newProxyAt listens at an address of this machine, and forwards to a portal.
func newProxyAt(t *testing.T, address string, to nvme.Portal) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", address)
	ok(t, err)
	at := l.Addr().(*net.TCPAddr)
	p := &proxy{t: t, to: to.String(), portal: nvme.Portal{Address: at.IP.String(), Port: at.Port}}
	p.passes = sync.NewCond(&p.mu)
	p.serve(l)
	t.Cleanup(func() {
		if t.Failed() { // what waits for this network would keep the programs from ending
			deleteControllers(t)
		}
		p.mu.Lock()
		p.closed = true
		p.passes.Broadcast()
		p.mu.Unlock()
		p.cut()
		p.running.Wait()
	})
	return p
}

func (p *proxy) serve(l net.Listener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listener = l
	p.running.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil { // cut
				return
			}
			p.running.Go(func() { p.forward(from) })
		}
	})
}

// forward copies both ways until one end is done, or the connection is cut.
func (p *proxy) forward(from net.Conn) {
	defer p.drop(from)
	if !p.keep(from) || !p.pass() {
		return
	}
	to, err := net.Dial("tcp", p.to)
	if err != nil { // the initiator sees a connection that ends
		return
	}
	defer p.drop(to)
	if !p.keep(to) {
		return
	}
	var copies sync.WaitGroup
	for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
		copies.Go(func() {
			p.copy(way[1], way[0])
			p.drop(way[0])
			p.drop(way[1])
		})
	}
	copies.Wait()
}

func (p *proxy) copy(to io.Writer, from io.Reader) {
	buffer := make([]byte, 256<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && p.pass() {
			_, writeErr := to.Write(buffer[:n])
			if writeErr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits while nothing may pass. It is false at the end of the test.
func (p *proxy) pass() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.black && !p.closed {
		p.passes.Wait()
	}
	return !p.closed
}

// keep notes a connection to be cut. It is false where that has happened already.
func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener == nil {
		return false
	}
	p.conns = append(p.conns, c)
	return true
}

func (p *proxy) drop(c net.Conn) {
	_ = c.Close() // twice is no harm
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = slices.DeleteFunc(p.conns, func(other net.Conn) bool { return other == c })
}

// cut resets all connections and refuses new ones, as a machine does that goes down.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
	for _, c := range p.conns {
		_ = c.(*net.TCPConn).SetLinger(0) // a reset, not an orderly end
		_ = c.Close()
	}
}

// blackhole lets nothing pass any more, and ends nothing: a network that drops packets.
func (p *proxy) blackhole() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.black = true
}

// heal undoes cut and blackhole. What was held back passes now, as if it was sent again.
func (p *proxy) heal() {
	p.t.Helper()
	p.mu.Lock()
	p.black = false
	p.passes.Broadcast()
	cut := p.listener == nil
	p.mu.Unlock()
	if cut {
		l, err := net.Listen("tcp", p.portal.String())
		ok(p.t, err)
		p.serve(l)
	}
}

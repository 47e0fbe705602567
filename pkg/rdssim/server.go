package rdssim

import (
	"errors"
	"net"

	"go.uber.org/zap"
	"golang.org/x/crypto/ssh"
)

// serverConfig has the banner of the real array, which names no version, and
// lets in users with keys.
func (a *Array) serverConfig() (*ssh.ServerConfig, error) {
	host, err := keyPair(a.opts.Dir, "host_key", a.opts.HostKeyType)
	if err != nil {
		return nil, err
	}
	client, err := keyPair(a.opts.Dir, "client_key", "ed25519")
	if err != nil {
		return nil, err
	}
	a.hostKey = host.PublicKey()
	config := &ssh.ServerConfig{
		ServerVersion: "SSH-2.0-ROSSSH",
		PublicKeyCallback: func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if err := a.mayLogIn(meta, key, client.PublicKey()); err != nil {
				return nil, err
			}
			if a.strikes(AuthRefused, "") {
				return nil, errors.New("login refused by an injected fault")
			}
			return nil, nil
		},
	}
	config.AddHostKey(host)
	return config, nil
}

func (a *Array) accept() {
	for {
		conn, err := a.listener.Accept()
		if err != nil {
			return
		}
		a.dials.Add(1)
		a.wg.Go(func() { a.serve(conn) })
	}
}

// register remembers a connection for Close; it refuses one while the array is
// down.
func (a *Array) register(conn net.Conn) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.down || a.ctx.Err() != nil {
		return false
	}
	a.conns[conn] = true
	return true
}

func (a *Array) forget(conn net.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.conns, conn)
}

// serve speaks SSH on one connection until it ends.
func (a *Array) serve(conn net.Conn) {
	defer conn.Close()
	if !a.register(conn) {
		return
	}
	defer a.forget(conn)
	sshConn, channels, requests, err := ssh.NewServerConn(conn, a.ssh)
	if err != nil {
		a.opts.Logger.Info("ssh connection refused", zap.Stringer("peer", conn.RemoteAddr()), zap.Error(err))
		return
	}
	defer sshConn.Close()
	// Global requests, keepalive@openssh.com among them, are read and never
	// answered: clients must not count on it.
	a.wg.Go(func() {
		for range requests {
		}
	})
	for channel := range channels {
		a.wg.Go(func() { a.channel(peer{conn, sshConn.User()}, channel) })
	}
}

// peer is a connection and who has logged in on it.
type peer struct {
	net.Conn
	user string
}

// channel opens one session, within the limit.
func (a *Array) channel(conn peer, offered ssh.NewChannel) {
	if offered.ChannelType() != "session" {
		refuse(offered, ssh.UnknownChannelType, "only sessions")
		return
	}
	open := a.sessions.Add(1)
	if open > int64(a.opts.MaxSessions) || a.strikes(RefuseSession, "") {
		a.sessions.Add(-1)
		refuse(offered, ssh.ResourceShortage, "too many sessions")
		return
	}
	for peak := a.peak.Load(); open > peak && !a.peak.CompareAndSwap(peak, open); {
		peak = a.peak.Load()
	}
	channel, requests, err := offered.Accept()
	if err != nil {
		a.sessions.Add(-1)
		return
	}
	if !a.requests(conn, channel, requests) {
		refuseAll(requests) // hangs until the client closes the session
	}
	// Counted down before the client can see the end and open its next one.
	a.sessions.Add(-1)
	_ = channel.Close()
	refuseAll(requests)
}

// refuseAll answers requests until the session is closed.
func refuseAll(requests <-chan *ssh.Request) {
	for request := range requests {
		reply(request, false)
	}
}

// requests waits for the exec and carries it out; false: it hangs.
func (a *Array) requests(conn peer, channel ssh.Channel, requests <-chan *ssh.Request) bool {
	for request := range requests {
		if request.Type == "exec" {
			return a.session(conn, channel, request)
		}
		// No terminal, no shell, no environment, no subsystem.
		reply(request, false)
	}
	return true
}

func refuse(channel ssh.NewChannel, reason ssh.RejectionReason, text string) {
	// The connection may be gone; there is nobody to tell.
	_ = channel.Reject(reason, text)
}

func reply(request *ssh.Request, ok bool) {
	if request.WantReply {
		_ = request.Reply(ok, nil)
	}
}

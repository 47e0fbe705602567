package routeros

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// How long the peer may leave data or a probe unacknowledged before the kernel gives the
// connection up. RouterOS does not answer SSH keepalives (facts/predecessor.md §2.6), so a
// dead peer is found on the TCP level.
const (
	userTimeout   = 20 * time.Second
	keepAliveIdle = 15 * time.Second
	keepAliveStep = 5 * time.Second
)

// dialer makes SSH connections to the array.
type dialer struct {
	config Config
	tasks  *tasks
	host   string
	port   int
}

// dial makes one attempt, and counts it. The attempt is bounded by Config.DialTimeout.
func (d *dialer) dial(ctx context.Context, attempt int) (l *link, err error) {
	ctx, span := telemetry.Start(ctx, "ssh.dial", telemetry.Client,
		telemetry.ServerAddress(d.host), telemetry.ServerPort(d.port), telemetry.Attempt(attempt))
	start := time.Now()
	defer func() {
		d.config.Metrics.RecordSSHDial(ctx, err, time.Since(start))
		span.End(err)
	}()
	client, err := d.connect(ctx)
	if err != nil {
		return nil, fault.Wrap("log in to the array at "+d.config.Address+" as "+d.config.User, err)
	}
	d.config.Log.Info("connected to the array", append(telemetry.LogFields(ctx),
		zap.String("address", d.config.Address), zap.ByteString("server", client.ServerVersion()))...)
	return newLink(client, d.config.Address, d.tasks, d.config.Log), nil
}

func (d *dialer) connect(ctx context.Context) (*ssh.Client, error) {
	login, err := d.login()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.config.DialTimeout)
	defer cancel()
	tcp, err := d.tcp().DialContext(ctx, "tcp", d.config.Address)
	if err != nil {
		return nil, fault.Errorf("", fault.SSHUnreachable, "%w; is the array up, and is SSH enabled there (/ip/service print)?", err)
	}
	return d.handshake(ctx, tcp, login)
}

func (d *dialer) tcp() *net.Dialer {
	return &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: keepAliveIdle, Interval: keepAliveStep},
		Control: func(_, _ string, raw syscall.RawConn) error {
			var failure error
			err := raw.Control(func(fd uintptr) {
				failure = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
			})
			return errors.Join(err, failure)
		},
	}
}

// login reads the keys anew, so that a replaced Secret works without a restart.
func (d *dialer) login() (*ssh.ClientConfig, error) {
	signer, err := loadUserKey(d.config.KeyFile)
	if err != nil {
		return nil, fault.E("", fault.SSHAuth, err)
	}
	login := &ssh.ClientConfig{
		User:            d.config.User,
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), // asked for; New has warned
	}
	if d.config.InsecureSkipVerify {
		return login, nil
	}
	keys, err := loadHostKeys(d.config.HostKey, d.config.Address)
	if err != nil {
		return nil, fault.E("", fault.SSHHostKey, err)
	}
	login.HostKeyCallback, login.HostKeyAlgorithms = keys.verify, keys.algorithms()
	return login, nil
}

func (d *dialer) handshake(ctx context.Context, tcp net.Conn, login *ssh.ClientConfig) (*ssh.Client, error) {
	verify, verified := login.HostKeyCallback, false
	login.HostKeyCallback = func(name string, remote net.Addr, key ssh.PublicKey) error {
		err := verify(name, remote, key)
		verified = err == nil
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = tcp.Close() }) // NewClientConn takes no context
	conn, channels, requests, err := ssh.NewClientConn(tcp, d.config.Address, login)
	if inTime := stop(); !inTime {
		if err == nil {
			_ = conn.Close()
		}
		return nil, fault.Errorf("", fault.SSHUnreachable, "the SSH handshake did not end within %s: %w", d.config.DialTimeout, ctx.Err())
	}
	if err != nil {
		return nil, d.explain(err, verified)
	}
	return ssh.NewClient(conn, channels, requests), nil
}

// explain tells a refused login from a connection that broke: x/crypto/ssh has no type for it.
func (d *dialer) explain(err error, verified bool) error {
	_, network := errors.AsType[net.Error](err)
	switch {
	case fault.ReasonOf(err) == fault.SSHHostKey:
		return fault.Wrap("", err)
	case network || errors.Is(err, io.EOF):
		return fault.Errorf("", fault.SSHUnreachable,
			"%w; the array closed the connection: is this host allowed by /ip/service (available-from of ssh) and /user (address)?", err)
	case verified:
		return fault.Errorf("", fault.SSHAuth,
			"%w; does the user have this public key (/user/ssh-keys print) and the policy ssh (/user/group print)?", err)
	default:
		return fault.E("", fault.SSHUnreachable, err)
	}
}

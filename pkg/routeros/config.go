package routeros

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// What Config leaves at zero.
const (
	defaultSessions       = 1
	defaultDialTimeout    = 10 * time.Second
	defaultSessionTimeout = 10 * time.Second
	defaultExecTimeout    = time.Minute
)

// Config says which array to talk to, as whom, and how patiently.
type Config struct {
	Address            string // host:port
	User               string
	KeyFile            string // private key, Ed25519 or RSA; read at each dial, so it can be replaced
	HostKey            string // known_hosts file, OpenSSH public key file, or a SHA256:… fingerprint
	InsecureSkipVerify bool   // accept any host key; logged as a warning
	Sessions           int    // execs in flight at once; default 1

	DialTimeout    time.Duration // TCP and SSH handshake together; default 10 s
	SessionTimeout time.Duration // until a session is open; default 10 s
	ExecTimeout    time.Duration // until an exec has replied, if the context ends later; default 60 s

	Metrics *telemetry.Metrics // default: not recorded
	Log     *zap.Logger        // default: not logged
}

func (c Config) withDefaults() Config {
	c.Sessions = cmp.Or(c.Sessions, defaultSessions)
	c.DialTimeout = cmp.Or(c.DialTimeout, defaultDialTimeout)
	c.SessionTimeout = cmp.Or(c.SessionTimeout, defaultSessionTimeout)
	c.ExecTimeout = cmp.Or(c.ExecTimeout, defaultExecTimeout)
	c.Metrics = cmp.Or(c.Metrics, telemetry.Noop())
	c.Log = cmp.Or(c.Log, zap.NewNop())
	return c
}

func (c Config) validate() error {
	if _, _, err := splitAddress(c.Address); err != nil {
		return err
	}
	switch {
	case c.User == "":
		return errors.New("no SSH user is given")
	case c.KeyFile == "":
		return errors.New("no SSH key file is given")
	case c.Sessions < 0:
		return fmt.Errorf("%d SSH sessions: at least one is needed", c.Sessions)
	case c.DialTimeout < 0 || c.SessionTimeout < 0 || c.ExecTimeout < 0:
		return errors.New("an SSH time-out is negative")
	case c.HostKey == "" && !c.InsecureSkipVerify:
		return errors.New("no SSH host key is given: name a file with it, or its fingerprint SHA256:… (on the array: /ip/ssh print)")
	default:
		return nil
	}
}

func splitAddress(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("array address %q is not host:port: %w", address, err)
	}
	port, err = strconv.Atoi(text)
	if err != nil || host == "" || port < 1 || port > 65535 {
		return "", 0, fmt.Errorf("array address %q is not host:port", address)
	}
	return host, port, nil
}

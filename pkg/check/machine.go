package check

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// ThisMachine is the one the program runs on.
type ThisMachine struct{}

// Root tells whether the program may do what the node plugin does.
func (ThisMachine) Root() bool { return os.Geteuid() == 0 }

// Read reads a file.
func (ThisMachine) Read(path string) (string, error) {
	text, err := os.ReadFile(path)
	return string(text), err
}

// Exists tells whether there is something at path.
func (ThisMachine) Exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Installed is nil where a program is found in PATH.
func (ThisMachine) Installed(program string) error { return host.Installed(program) }

// Mounts is the mount table of this process.
func (ThisMachine) Mounts() ([]host.MountPoint, error) { return host.NewMounts().Table() }

const dialTimeout = 5 * time.Second

// Dial opens a TCP connection and closes it again.
func Dial(ctx context.Context, address string) error {
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

func refusedByPeer(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

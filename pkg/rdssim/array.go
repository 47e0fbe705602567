package rdssim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/crypto/ssh"
)

// Array is a running simulated array.
type Array struct {
	opts     Options
	version  release
	tree     *tree
	tables   map[string]*table
	commands map[string]command
	now      func() time.Time

	lock     *os.File
	listener net.Listener
	ssh      *ssh.ServerConfig
	hostKey  ssh.PublicKey
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	execs, dials, sessions, peak atomic.Int64

	// mu guards all below. It is held for one console command at a time.
	mu          sync.Mutex
	header      header
	disks       []*disk
	files       *files
	diskFull    bool              // the command at hand runs under an injected fault
	live        map[string]export // by slot
	exporter    exporter
	exportsHeld bool // booting
	down        bool
	booted      time.Time
	faults      []Fault
	random      *rand.Rand
	transcript  []Exec
	remembered  int // bytes of text in the transcript
	conns       map[net.Conn]bool
}

// Start makes or finds the array in its directory and serves its console. The
// keys and the state are there before it accepts. It runs until Close, or
// until the context ends.
func Start(ctx context.Context, options Options) (*Array, error) {
	opts, err := options.complete()
	if err != nil {
		return nil, fmt.Errorf("simulated array: %w", err)
	}
	if opts.Dir, err = filepath.Abs(opts.Dir); err != nil {
		return nil, err
	}
	a := &Array{
		opts: opts, now: time.Now, booted: time.Now(), live: map[string]export{}, conns: map[net.Conn]bool{},
		random: rand.New(rand.NewPCG(opts.Seed, opts.Seed)),
	}
	a.ctx, a.cancel = context.WithCancel(ctx)
	if err := a.open(); err != nil {
		a.cancel()
		return nil, fmt.Errorf("simulated array in %s: %w", opts.Dir, err)
	}
	a.wg.Go(a.accept)
	a.wg.Go(a.stop)
	return a, nil
}

// stop ends all that waits, once the array's context has ended.
func (a *Array) stop() {
	<-a.ctx.Done()
	// Accept returns with net.ErrClosed; there is nothing else to learn.
	_ = a.listener.Close()
	a.dropConnections()
}

// open locks the directory, reads it, and shows the array to the outside.
func (a *Array) open() error {
	if err := os.MkdirAll(a.poolsDir(), 0o755); err != nil {
		return err
	}
	lock, err := lockDir(a.opts.Dir)
	if err != nil {
		return err
	}
	a.lock = lock
	if err := a.prepare(); err != nil {
		return errors.Join(err, lock.Close())
	}
	if err := a.show(); err != nil {
		return errors.Join(err, lock.Close())
	}
	return nil
}

// prepare reads or makes everything in the directory.
func (a *Array) prepare() error {
	var err error
	if a.version, err = parseRelease(a.opts.Version); err != nil {
		return err
	}
	if a.tree, err = newTree(a.version, !a.opts.differs(NoRose)); err != nil {
		return err
	}
	a.tables = map[string]*table{}
	for _, t := range append(a.accountTables(), a.diskTable(), a.fileTable(), a.subvolumeTable(), a.filesystemTable(), a.packageTable()) {
		a.tables[t.path] = t
	}
	a.commands = a.menus()
	return a.load()
}

// show starts what the outside can see: exports first, then the listener.
func (a *Array) show() error {
	config, err := a.serverConfig()
	if err != nil {
		return err
	}
	a.ssh = config
	if err := a.clearExports(); err != nil {
		return err
	}
	a.exporter = nowhere{}
	if a.opts.Export == "nvmet" {
		if a.exporter, err = newNVMeT(a.opts.ConfigFS, a.opts.NVMeAddress); err != nil {
			return err
		}
	}
	if err := a.exporter.Open(); err != nil {
		return errors.Join(err, a.exporter.Close())
	}
	for _, d := range a.disks {
		// An array boots also with a backing file gone.
		if err := a.publish(nil, d); err != nil {
			a.opts.Logger.Error("export", zap.String("slot", d.Slot), zap.Error(err))
		}
	}
	if a.listener, err = net.Listen("tcp", a.opts.SSHAddress); err != nil {
		return errors.Join(err, a.exporter.Close())
	}
	return nil
}

// Close stops the array and waits until all of it has ended. The state stays
// in the directory. Closing twice is fine.
func (a *Array) Close() error {
	a.mu.Lock()
	a.cancel()
	a.mu.Unlock()
	a.wg.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	var err error
	for _, e := range a.live {
		err = errors.Join(err, a.withdraw(e))
	}
	err = errors.Join(err, a.exporter.Close())
	if a.lock != nil {
		err = errors.Join(err, a.lock.Close())
		a.lock = nil
	}
	return err
}

func (a *Array) dropConnections() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for conn := range a.conns {
		// The error is the peer's: it may have closed first.
		_ = conn.Close()
	}
}

// SSHAddr is where the console listens.
func (a *Array) SSHAddr() string { return a.listener.Addr().String() }

// HostKeyFingerprint is the host key's SHA-256 in OpenSSH's form.
func (a *Array) HostKeyFingerprint() string { return ssh.FingerprintSHA256(a.hostKey) }

// ClientKeyFile is the private key that may log in.
func (a *Array) ClientKeyFile() string { return filepath.Join(a.opts.Dir, "client_key") }

// HostKeyFile is the public host key in OpenSSH's form.
func (a *Array) HostKeyFile() string { return filepath.Join(a.opts.Dir, "host_key.pub") }

// DriverFlags are the flags of a driver that would use this array.
func (a *Array) DriverFlags() []string {
	host, port := splitAddress(a.SSHAddr())
	nvmeHost, nvmePort := splitAddress(a.opts.NVMeAddress)
	return []string{"--rds-address", host, "--rds-port", port, "--rds-user", a.opts.User,
		"--rds-key-file", a.ClientKeyFile(), "--rds-host-key", a.HostKeyFile(), "--rds-pool", a.opts.Pools[0].Name,
		"--nvme-address", nvmeHost, "--nvme-port", nvmePort}
}

func splitAddress(address string) (host, port string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address, ""
	}
	return host, port
}

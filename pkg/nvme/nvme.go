package nvme

import (
	"context"
	"net"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// Device is a block device whose identity has been verified: its controller is live and has
// the exact NQN and our host NQN, and the number in sysfs is that of the opened node.
type Device struct {
	Path       string      // such as /dev/nvme0n1; good for messages and tools, not an identity
	Num        host.DevNum // what mounts are compared by
	Size       uint64      // bytes
	Controller string      // such as nvme0, or loop3
	Wwid       string      // of this attachment; the array may draw another after a restart (facts/nvme.md §0.2)
	Adopted    bool        // the controller was there before this call

	dir, path string // in sysfs: its own, and that by which its controller shows it; "" for a loop device
}

// Config is what a Host needs. Only HostNQN has no default.
type Config struct {
	HostNQN string // whose controllers States counts
	Sys     string // default /sys
	Dev     string // default /dev

	ConnectTimeout time.Duration // for a controller to become live; default 60 s
	DeviceTimeout  time.Duration // for its block device to appear or grow; default 30 s

	Fabrics    fabrics                 // default: Dev/nvme-fabrics
	Attributes attributes              // default: the kernel's sysfs
	Devices    blockDevices            // default: the kernel's block devices
	Mounts     mountTable              // default: /proc/self/mountinfo
	Runner     programs                // default: programs of this machine; only modprobe is run
	Events     func() (Wakeups, error) // default: the kernel's uevents
	Metrics    *telemetry.Metrics      // default: none
	Log        *zap.Logger             // default: none
}

// fabrics is /dev/nvme-fabrics. Options lists what the kernel supports, Create blocks until
// the controller is live or refused.
type fabrics interface {
	Options() (string, error)
	Create(options string) (string, error)
}

// attributes are those of sysfs.
type attributes interface {
	Read(dir *host.Directory, name string) (string, error)
	Write(dir *host.Directory, name, value string) error
}

// blockDevices answers what only an open descriptor can.
type blockDevices interface {
	// Identify gives st_rdev and the size in bytes.
	Identify(path string) (host.DevNum, uint64, error)
	// Exclusive opens and closes the device with O_EXCL; EBUSY says that somebody else has it.
	Exclusive(path string) error
}

// mountTable is the mount table of the host.
type mountTable interface {
	Table() ([]host.MountPoint, error)
}

// programs runs a program of the host.
type programs interface {
	Run(ctx context.Context, name string, args ...string) (host.Result, error)
}

// Wakeups say that it is worth looking at sysfs again.
type Wakeups interface {
	Wake() <-chan struct{}
	Close() error
}

// Host attaches NVMe/TCP volumes to this machine.
type Host struct {
	hostNQN string
	connect time.Duration
	device  time.Duration
	dialer  net.Dialer

	fabrics fabrics
	modules modules
	options optionList
	tree    tree
	calls   *calls
	usage   usage
	events  func() (Wakeups, error)

	// turn admits one create at a time, first come first served: the kernel serialises them
	// anyway, and a queue of our own can be left (facts/nvme.md §0.3).
	turn     *semaphore.Weighted
	attempts attempts
	paths    pathTrouble

	metrics *telemetry.Metrics
	log     *zap.Logger
}

// predialTimeout is a little more than the kernel's own bound for a TCP connect, a SYN and one
// retry (facts/nvme.md §1.1).
const predialTimeout = 4 * time.Second

// New makes a Host. It touches nothing yet.
func New(cfg Config) (*Host, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &calls{attrs: cfg.Attributes, blocks: cfg.Devices}
	return &Host{
		hostNQN: cfg.HostNQN, connect: cfg.ConnectTimeout, device: cfg.DeviceTimeout,
		dialer:  net.Dialer{Timeout: predialTimeout, KeepAlive: -1}, // it is closed at once
		fabrics: cfg.Fabrics,
		modules: modules{fabricsPath: fabricsPath(cfg.Dev), programs: cfg.Runner},
		tree:    tree{sys: cfg.Sys, dev: cfg.Dev, attrs: cfg.Attributes, calls: c},
		calls:   c,
		usage:   usage{attrs: cfg.Attributes, mounts: cfg.Mounts, calls: c},
		events:  cfg.Events,
		turn:    semaphore.NewWeighted(1),
		metrics: cfg.Metrics, log: cfg.Log,
	}, nil
}

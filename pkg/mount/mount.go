package mount

import (
	"context"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// kernel is the mount table; host.Mounts fits.
type kernel interface {
	Mount(source, target, fsType string, options []string) error
	Bind(source, target string, readOnly bool) error
	Unmount(target string) error
	Table() ([]host.MountPoint, error)
}

// tools runs programs; host.Runner fits.
type tools interface {
	Run(ctx context.Context, name string, args ...string) (host.Result, error)
}

// devices opens block devices; host.Devices fits.
type devices interface {
	Open(path string, exclusive, write bool) (host.Device, error)
	SetReadOnly(path string, num host.DevNum, readOnly bool) error
}

// filesystems looks at mounted file systems; host.Filesystems fits.
type filesystems interface {
	Statfs(path string) (host.FSStats, error)
	Size(path, fsType string) (uint64, error)
	Answers(path string) error
	Errors(fsType, device string) (int, error)
	Held(fsType, device string) (bool, error)
}

// Config is what a Mounter works with. All fields but SysResource are needed.
type Config struct {
	Kernel      kernel
	Tools       tools
	Devices     devices
	Filesystems filesystems
	// SysResource tells whether the kernel will let a mounted ext4 grow (CAP_SYS_RESOURCE); nil
	// asks what this process may.
	SysResource func() (bool, error)
	Metrics     *telemetry.Metrics
	Log         *zap.Logger
}

// Mounter makes, mounts and looks at the file systems of volumes. It keeps no state but which
// calls still hang in the kernel; the mount table and the devices are the truth.
type Mounter struct {
	kernel      kernel
	tools       tools
	devices     devices
	filesystems filesystems
	sysResource func() (bool, error)
	metrics     *telemetry.Metrics
	log         *zap.Logger

	tableCalls  flights // mount and umount, by mount point
	deviceCalls flights // opening, reading and wiping, by device
	growCalls   flights // growing a file system that is not mounted, by device
	statCalls   flights // statfs, by path
}

// New makes a Mounter.
func New(c Config) *Mounter {
	if c.SysResource == nil {
		c.SysResource = host.HasSysResource
	}
	return &Mounter{
		kernel: c.Kernel, tools: c.Tools, devices: c.Devices, filesystems: c.Filesystems, sysResource: c.SysResource,
		metrics: c.Metrics, log: c.Log,
	}
}

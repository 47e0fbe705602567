package nvme

import (
	"errors"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

func (c Config) withDefaults() (Config, error) {
	if c.HostNQN == "" {
		return c, errors.New("the host NQN is empty: without it no controller can be told to be ours")
	}
	c.Sys = orDefault(c.Sys, "/sys")
	c.Dev = orDefault(c.Dev, "/dev")
	c.ConnectTimeout = orDefault(c.ConnectTimeout, 60*time.Second)
	c.DeviceTimeout = orDefault(c.DeviceTimeout, 30*time.Second)
	c.Metrics = orDefault(c.Metrics, telemetry.Noop())
	c.Log = orDefault(c.Log, zap.NewNop())
	if c.Fabrics == nil {
		c.Fabrics = host.NewFabrics(fabricsPath(c.Dev))
	}
	if c.Attributes == nil {
		c.Attributes = host.Attributes{}
	}
	if c.Devices == nil {
		c.Devices = kernelDevices{}
	}
	if c.Mounts == nil {
		c.Mounts = host.NewMounts()
	}
	if c.Runner == nil {
		c.Runner = host.NewRunner()
	}
	if c.Events == nil {
		c.Events = KernelEvents
	}
	return c, nil
}

func fabricsPath(dev string) string { return filepath.Join(dev, "nvme-fabrics") }

func orDefault[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

// KernelEvents wakes for whatever happens to a block device or a controller.
func KernelEvents() (Wakeups, error) {
	return host.WatchUevents(func(e host.Uevent) bool {
		subsystem := e.Env["SUBSYSTEM"]
		return subsystem == "block" || strings.HasPrefix(subsystem, "nvme")
	})
}

// kernelDevices opens the kernel's block devices.
type kernelDevices struct{}

func (kernelDevices) Identify(path string) (host.DevNum, uint64, error) {
	device, err := host.OpenBlock(path, false, false)
	if err != nil {
		return host.DevNum{}, 0, err
	}
	size, err := device.Size()
	return device.Num(), size, errors.Join(err, device.Close())
}

func (kernelDevices) Exclusive(path string) error {
	device, err := host.OpenBlock(path, true, false)
	if err != nil {
		return err
	}
	return device.Close()
}

package nvme

import (
	"context"
	"os"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// modules loads what NVMe/TCP needs. nvme-tcp brings nvme-fabrics with it, whose device appears
// in devtmpfs at once.
type modules struct {
	fabricsPath string
	programs    programs
}

// ensure makes sure that the fabrics device is there.
func (m modules) ensure(ctx context.Context) error {
	if _, err := os.Stat(m.fabricsPath); err == nil {
		return nil
	}
	const op = "load the kernel module nvme-tcp"
	if _, err := m.programs.Run(ctx, "modprobe", "nvme-tcp"); err != nil {
		if ctx.Err() != nil {
			return fault.Wrap(op, err)
		}
		return fault.Errorf(op, fault.Precondition, "%s is missing and the module could not be loaded: %w. Load nvme-tcp on the node at boot (a line nvme-tcp in /etc/modules-load.d/)", m.fabricsPath, err)
	}
	if _, err := os.Stat(m.fabricsPath); err != nil {
		return fault.Errorf(op, fault.Precondition, "the module is loaded but %s is missing: mount the host's /dev into the node plugin, not a copy", m.fabricsPath)
	}
	return nil
}

package vm

import (
	"os"
	"testing"
)

// Without native multipath the kernel gives each controller a disk of its own, and with it one to all of a
// subsystem: what becomes of a disk whose controller was refused differs, and so it does between kernels.
func TestPairFence(t *testing.T) {
	t.Parallel() // with others; of its own variants one at a time, for each has two guests
	for _, variant := range []struct {
		kernel, multipath string
		always            bool
	}{{"6.12", "Y", true}, {"6.1", "N", true}, {"6.12", "N", false}, {"6.1", "Y", false}} {
		if !variant.always && os.Getenv("RDS_E2E_FULL") == "" {
			continue
		}
		t.Run(variant.kernel+" multipath="+variant.multipath, func(t *testing.T) {
			pair(t, variant.kernel, "TestPairFence", "nvme_core.multipath="+variant.multipath)
		})
	}
}

package nvme_test

import (
	"testing"

	"go.uber.org/goleak"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme/nvmetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kernels are the shapes of sysfs a node may have (facts/nvme.md §1.4, naming).
func kernels() map[string]nvmetest.Options {
	return map[string]nvmetest.Options{
		"multipath":                  {Multipath: true},
		"multipath, one controller":  {Multipath: true, SingleController: true},
		"no multipath":               {},
		"Linux 6.5":                  {Multipath: true, StrictHostID: true},
		"a kernel without the list":  {NoList: true, Known: []string{"transport", "traddr", "trsvcid", "nqn", "hostnqn", "hostid", "nr_io_queues", "reconnect_delay", "ctrl_loss_tmo", "keep_alive_tmo"}},
		"a kernel with few options":  {Known: []string{"transport", "traddr", "trsvcid", "nqn", "hostnqn", "hostid"}},
		"nvme-tcp is not loaded yet": {Multipath: true, NoModule: true},
	}
}

func TestHostContract(t *testing.T) {
	for name, o := range kernels() {
		t.Run(name, func(t *testing.T) {
			nvmetest.RunContract(t, func(t *testing.T) nvmetest.Setup {
				k := nvmetest.NewKernel(t, o)
				k.AddPCIe()
				return nvmetest.Setup{Connector: newHost(t, k.Config()), Array: k, Portal: k.AddPortal(), Hold: k.Hold}
			})
		})
	}
}

func newHost(t *testing.T, cfg nvme.Config) *nvme.Host {
	t.Helper()
	h, err := nvme.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

package e2e

import (
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
)

// provocation is a scenario: a namespace of its own, whose pods are real plugins against a simulated array.
type provocation struct {
	namespace string
	says      string // for the reference
	alerts    []string
	loops     bool // it attaches loop devices, which needs root
	start     func(t *testing.T, r *running)
}

// running is a provocation under way.
type running struct {
	targets []string // that Prometheus scrapes
	plugins []*service
	later   func() // what happens once Prometheus has seen how it was before
}

// elsewhere are the alerts that are provoked where the kernel has NVMe/TCP.
func elsewhere() map[string]string {
	const why = "in a virtual machine, whose kernel has NVMe/TCP: the target goes away (`TestAlertsSeeAnOutageAndItsEnd`)"
	return map[string]string{
		"RDSCSINodeCutOff": why, "RDSCSINVMeControllerNotLive": why,
		"RDSCSIStaleMountRecoveryFailed": "in a virtual machine: the kernel gives a device up, and somebody holds the dead mount (`TestAlertsSeeAnOutageAndItsEnd`)",
	}
}

func runs() []provocation {
	return []provocation{
		{"away", "the array is gone", []string{"RDSCSIBackendUnreachable"}, false, arrayAway},
		{"login", "the array does not know the driver's key", []string{"RDSCSISSHLoginRefused", "RDSCSIBackendUnreachable"}, false, loginRefused},
		{"pool", "volumes of others fill the pool to 82 %, then to 97 %", []string{"RDSCSIPoolFillingUp", "RDSCSIPoolAlmostFull"}, false, poolFills},
		{"stuck", "the array hangs in a CreateVolume", []string{"RDSCSIOperationStuck"}, false, createHangs},
		{"errors", "the pool has no room for what is asked, twelve times", []string{"RDSCSIVolumeOperationErrors", "RDSCSIVolumeOperationErrorsSlow"}, false, createsFail},
		{"stale", "the array tells that it is there, and not how full it is", []string{"RDSCSIBackendDataStale"}, false, figuresFail},
		{"orphans", "one of two volumes has no PersistentVolume", []string{"RDSCSIOrphanVolumes"}, false, volumesOfNobody},
		{"telemetry", "a collector refuses the connection", []string{"RDSCSITelemetryErrors"}, false, collectorRefuses},
		{"unread", "a stage record cannot be read", []string{"RDSCSIMountsNotChecked"}, false, recordBroken},
		{"format", "a new volume has data on it", []string{"RDSCSIFormatRefused"}, true, formatRefused},
		{"lost", "a device goes away, and its export is gone", []string{"RDSCSINVMeControllerLost", "RDSCSIStaleMounts"}, true, deviceLost},
		{"well", "volumes come and go", nil, true, volumesComeAndGo},
		{"down", "nobody listens where a pod is to be scraped", []string{"RDSCSITargetDown"}, false, nobodyListens},
		{"(all)", "every controller has ended", []string{"RDSCSIControllerAbsent"}, false, nil},
	}
}

func (r *running) scrape(s *service) {
	r.targets = append(r.targets, strings.TrimPrefix(s.metrics, "http://"))
	r.plugins = append(r.plugins, s)
}

func (r *running) try(t *testing.T, s *service, name string, size int64) {
	req := createRequest(name)
	req.CapacityRange.RequiredBytes = size
	_, _ = csi.NewControllerClient(s.conn).CreateVolume(t.Context(), req) // fails, or ends with the test
}

package driver

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	"github.com/onsi/gomega"
	"google.golang.org/grpc"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/goldentest"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
)

// sanityConfig is 1.5 GiB volumes: no size that the code could assume.
func sanityConfig(t *testing.T, node, controller *server, accessType string) sanity.TestConfig {
	cfg := sanity.NewTestConfig()
	dir := t.TempDir()
	cfg.TargetPath, cfg.StagingPath = filepath.Join(dir, "mount"), filepath.Join(dir, "staging")
	dial := func(s *server) []grpc.DialOption { return append(s.dial, grpc.WithAuthority("localhost")) }
	cfg.Address, cfg.DialOptions = bufAddress, dial(node)
	if controller != nil {
		cfg.ControllerAddress, cfg.ControllerDialOptions = bufAddress, dial(controller)
	}
	cfg.TestVolumeSize, cfg.TestVolumeExpandSize = 1536*mib, 1800*mib
	cfg.IdempotentCount = 5
	cfg.TestVolumeAccessType = accessType
	return cfg
}

// TestSanity runs the upstream suite over one process that serves both halves, with file systems,
// and over one process for each half, with raw block.
func TestSanity(t *testing.T) {
	sim := newArray(t, rdssim.Options{})
	both, split := newMachine(t, sim, "both"), newMachine(t, sim, "split")
	both.stop()
	both.server = serve(t, controllerOf(t, sim, both.portal.Port), both.config())
	controller := serve(t, controllerOf(t, sim, split.portal.Port), nil)
	filesystem := sanityConfig(t, both.server, nil, "mount")
	raw := sanityConfig(t, split.server, controller, "block")

	var contexts []*sanity.TestContext
	ginkgo.Describe("both services, file system", func() { contexts = append(contexts, sanity.GinkgoTest(&filesystem)) })
	ginkgo.Describe("a service each, raw block", func() { contexts = append(contexts, sanity.GinkgoTest(&raw)) })
	var skipped []string
	passed := 0
	ginkgo.ReportAfterSuite("skipped specs", func(report ginkgo.Report) {
		for _, spec := range report.SpecReports.WithState(types.SpecStateSkipped | types.SpecStatePending) {
			why := spec.Failure.Message
			if spec.State == types.SpecStatePending {
				why = pendingUpstream
			}
			skipped = append(skipped, spec.FullText()+": "+why)
		}
		passed = len(report.SpecReports.WithState(types.SpecStatePassed))
	})
	gomega.RegisterFailHandler(ginkgo.Fail)
	suite, reporter := ginkgo.GinkgoConfiguration()
	suite.RandomSeed, reporter.Succinct, reporter.NoColor = 1, true, true
	ok := ginkgo.RunSpecs(t, "CSI sanity", suite, reporter)
	for _, sc := range contexts {
		sc.Finalize()
	}
	if !ok {
		return // the reporter has said what failed
	}
	if passed < 110 {
		t.Errorf("only %d specs passed: the suite did not run in full", passed)
	}
	slices.Sort(skipped)
	goldentest.Compare(t, filepath.Join("testdata", "sanity_skipped.txt"), strings.Join(skipped, "\n")+"\n")
	for _, m := range []*machine{both, split} {
		m.mustBeClean(t)
	}
	if items := sim.Items(); len(items) != 1 { // the pool
		t.Errorf("left on the array: %+v", items)
	}
}

// pendingUpstream marks a spec that csi-test itself has switched off; TestPagesStayRight has its subject.
const pendingUpstream = "pending in csi-test"

// TestSanitySkipsOnlyWhatIsNotAnnounced keeps the golden list honest.
func TestSanitySkipsOnlyWhatIsNotAnnounced(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "sanity_skipped.txt"))
	if err != nil {
		t.Fatal(err)
	}
	reasons := []string{
		"ListSnapshots not supported", "GetSnapshot not supported", "CreateSnapshot not supported", "DeleteSnapshot not supported", "Snapshot not supported",
		"Volume Cloning not supported", "Modify volume not supported", "Modify Volume not supported", "ControllerModifyVolume not supported",
		"GroupControllerService not supported", "VolumeGroupSnapshots not supported",
		"ControllerGetVolumeHealth not supported", "ControllerListVolumeHealth not supported", "NodeGetVolumeHealth not supported", "NodeGetStorageHealth not supported",
		"ControllerPublishVolume.readonly field not supported", "testnodevolumeattachlimit not enabled",
		"SNAPSHOT_ACCESSIBILITY_CONSTRAINTS not supported", pendingUpstream,
	}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if !slices.ContainsFunc(reasons, func(reason string) bool { return strings.HasSuffix(line, ": "+reason) }) {
			t.Errorf("a spec that must run is skipped: %s", line)
		}
	}
}

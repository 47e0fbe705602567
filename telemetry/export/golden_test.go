package export

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/goldentest"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

func scrape(t testing.TB, url string) map[string]*dto.MetricFamily {
	t.Helper()
	code, body := get(t, url, "text/plain;version=0.0.4")
	if code != 200 {
		t.Fatalf("GET %s: %d %s", url, code, body)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatalf("parse %s: %v", url, err)
	}
	return families
}

// summary lists families with their types, labels and label values. The Go and process
// collectors are not ours; of theirs it says only whether they are there.
func summary(families map[string]*dto.MetricFamily) string {
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(families)) {
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
			continue
		}
		family := families[name]
		fmt.Fprintf(&out, "%s %s, %d series\n", name, strings.ToLower(family.GetType().String()), len(family.Metric))
		values := labelValues(family)
		for _, label := range slices.Sorted(maps.Keys(values)) {
			if name == "target_info" || label == "go_version" {
				fmt.Fprintf(&out, "    %s\n", label)
				continue
			}
			fmt.Fprintf(&out, "    %s: %s\n", label, strings.Join(slices.Sorted(maps.Keys(values[label])), " "))
		}
	}
	return out.String()
}

func labelValues(family *dto.MetricFamily) map[string]map[string]bool {
	values := map[string]map[string]bool{}
	for _, metric := range family.Metric {
		for _, pair := range metric.Label {
			if values[pair.GetName()] == nil {
				values[pair.GetName()] = map[string]bool{}
			}
			values[pair.GetName()][pair.GetValue()] = true
		}
	}
	return values
}

// recordOnce calls each recorder of the component once.
func recordOnce(t *testing.T, m *telemetry.Metrics, component telemetry.Component) {
	t.Helper()
	if component != telemetry.ComponentController {
		recordNode(t, m)
	}
	if component != telemetry.ComponentNode {
		recordController(t, m)
	}
}

func recordNode(t *testing.T, m *telemetry.Metrics) {
	t.Helper()
	ctx, failed := t.Context(), fault.E("connect", fault.NVMeConnectRefused, errors.New("no"))
	m.StartVolumeOp(ctx, telemetry.OpStage)()
	m.RecordVolumeOp(ctx, telemetry.OpStage, telemetry.StatusFailure, failed, time.Second)
	m.RecordNVMeConnect(ctx, failed, time.Second)
	m.RecordNVMeDeviceWait(ctx, nil, time.Second)
	m.RecordNVMeDisconnect(ctx, telemetry.DisconnectUnstage, nil)
	m.RecordMountOp(ctx, telemetry.MountOpMount, nil, time.Second)
	m.RecordFormatDecision(ctx, telemetry.FormatDone)
	m.RecordNVMeReconnect(ctx, telemetry.ReconnectLost, time.Second)
	m.RecordStaleMountDetected(ctx, telemetry.StaleDeviceGone)
	m.RecordStaleRecovery(ctx, telemetry.StatusSuccess, nil, time.Second)
	if err := m.ObserveMounts(func() telemetry.MountCheck {
		return telemetry.MountCheck{At: time.Now(), Known: true, Count: map[telemetry.MountState]int{telemetry.MountHealthy: 1}}
	}); err != nil {
		t.Fatal(err)
	}
	if err := m.ObserveNVMeControllers(func() (map[telemetry.ControllerState]int, bool) {
		return map[telemetry.ControllerState]int{telemetry.ControllerLive: 1}, true
	}); err != nil {
		t.Fatal(err)
	}
}

func recordController(t *testing.T, m *telemetry.Metrics) {
	t.Helper()
	ctx := t.Context()
	m.StartVolumeOp(ctx, telemetry.OpCreate)()
	m.RecordVolumeOp(ctx, telemetry.OpCreate, telemetry.StatusNoop, nil, time.Second)
	m.RecordRouterOSCommand(ctx, telemetry.CommandDiskAdd, nil, time.Second)
	m.RecordSSHDial(ctx, nil, time.Second)
	m.RecordSSHSessionWait(ctx, time.Second)
	if err := m.ObserveBackend("rds", fullBackend); err != nil {
		t.Fatal(err)
	}
}

// fullBackend is a look that gave all there is.
func fullBackend() telemetry.BackendCheck {
	return telemetry.BackendCheck{Known: true, Up: true, At: time.Unix(7, 0), Full: &telemetry.BackendUsage{
		Volumes: 3, Pools: []telemetry.PoolUsage{{Name: "btrfs-1", Capacity: 100, Usage: 30, Provisioned: 120}},
	}, Orphans: new(int64(1))}
}

// failedCall makes a CSI call that answers UNAVAILABLE.
func failedCall(t *testing.T, tel *Telemetry) {
	t.Helper()
	unavailable := csiServer{stage: func(context.Context) error { return errUnavailable }}
	node := csi.NewNodeClient(dialCSI(t, unavailable, tel.ServerOption()))
	if _, err := node.NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{}); err == nil {
		t.Fatal("the call did not fail")
	}
}

func TestFamiliesAtStartAndAfterUse(t *testing.T) {
	for _, component := range telemetry.Components() {
		t.Run(string(component), func(t *testing.T) {
			setEnv(t)
			tel, _ := setup(t, Config{Component: string(component), Version: "v1.2.3", Revision: "abc", MetricsAddress: "127.0.0.1:0"})
			url := serve(t, tel)
			start := scrape(t, url)
			goldentest.Compare(t, filepath.Join("testdata", "families-"+string(component)+"-start.txt"), summary(start))
			for _, name := range []string{"go_goroutines", "go_build_info", "process_open_fds", "process_cpu_seconds_total"} {
				if start[name] == nil {
					t.Errorf("%s is missing", name)
				}
			}
			checkZero(t, start)
			recordOnce(t, tel.Metrics(), component)
			failedCall(t, tel)
			await(t, "the call's metric", func() bool { return scrape(t, url)["rpc_server_call_duration_seconds"] != nil })
			after := scrape(t, url)
			goldentest.Compare(t, filepath.Join("testdata", "families-"+string(component)+"-used.txt"), summary(after))
			checkContract(t, after, component == telemetry.ComponentBoth)
		})
	}
}

func checkZero(t *testing.T, families map[string]*dto.MetricFamily) {
	t.Helper()
	for name, family := range families {
		for _, metric := range family.Metric {
			if strings.HasPrefix(name, "rds_csi_") && metric.GetCounter().GetValue() != 0 {
				t.Errorf("%s starts at %v", name, metric.GetCounter().GetValue())
			}
		}
	}
}

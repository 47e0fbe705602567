package telemetry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

func TestEveryRecordedValueIsInItsClosedSet(t *testing.T) {
	m, reader := newTestMetrics(t, ComponentBoth)
	if err := m.ObserveNVMeControllers(func() (map[ControllerState]int, bool) {
		return map[ControllerState]int{ControllerLive: 2, "new": 1, "deleting (no IO)": 1}, true
	}); err != nil {
		t.Fatal(err)
	}
	if err := m.ObserveBackend("rds", fullBackend); err != nil {
		t.Fatal(err)
	}
	if err := m.ObserveMounts(func() MountCheck {
		return MountCheck{At: time.Unix(1, 0), Known: true, Count: map[MountState]int{MountStale: 1, "odd": 1}}
	}); err != nil {
		t.Fatal(err)
	}
	recordAll(t.Context(), m)
	sets := closedSets()
	points := collect(t, reader)
	for name, series := range points {
		for _, p := range series {
			for _, kv := range p.attrs.ToSlice() {
				if !slices.Contains(sets[string(kv.Key)], kv.Value.AsString()) {
					t.Errorf("%s: %s=%q is in no closed set", name, kv.Key, kv.Value.AsString())
				}
			}
			_, failed := p.attrs.Value("error.type")
			status, _ := p.attrs.Value("status")
			if failed && status.AsString() != "failure" {
				t.Errorf("%s: error.type beside status=%s", name, status.AsString())
			}
		}
	}
	if got := valueOf(t, points, "rds_csi.nvme.controllers", "state=unknown"); got != 2 {
		t.Errorf("states the driver does not know: %d counted as unknown, want 2", got)
	}
}

func TestValuesOutsideOfTheClosedSetsAreDroppedAndCounted(t *testing.T) {
	m, reader := newTestMetrics(t, ComponentBoth)
	before := collect(t, reader)
	ctx := t.Context()
	m.RecordVolumeOp(ctx, "format_c", StatusSuccess, nil, 0)
	m.RecordVolumeOp(ctx, OpStage, "perhaps", nil, 0)
	m.RecordNVMeDisconnect(ctx, "whim", nil)
	m.RecordMountOp(ctx, "remount", nil, 0)
	m.RecordRouterOSCommand(ctx, "/system/reboot", nil, 0)
	m.RecordFormatDecision(ctx, "maybe")
	m.RecordStaleMountDetected(ctx, "rust")
	m.RecordStaleRecovery(ctx, "perhaps", nil, 0)
	m.RecordNVMeReconnect(ctx, "whatever", 0)
	m.StartVolumeOp(ctx, "format_c")()
	after := collect(t, reader)
	if got := valueOf(t, after, "rds_csi.telemetry.errors"); got != 10 {
		t.Errorf("telemetry errors = %d, want 10", got)
	}
	for name := range after {
		if len(after[name]) != len(before[name]) {
			t.Errorf("%s has %d series, had %d", name, len(after[name]), len(before[name]))
		}
	}
}

func TestRecordersCountAndTime(t *testing.T) {
	m, reader := newTestMetrics(t, ComponentBoth)
	ctx := t.Context()
	denied := fault.E("connect", fault.NVMeDenied, errors.New("refused"))
	done := m.StartVolumeOp(ctx, OpStage)
	m.RecordVolumeOp(ctx, OpStage, StatusNoop, nil, time.Second)
	m.RecordVolumeOp(ctx, OpStage, StatusSuccess, denied, time.Second) // the error decides
	m.RecordVolumeOp(ctx, OpStage, StatusFailure, nil, time.Second)    // a failure has a reason
	m.RecordVolumeOp(ctx, OpCreate, StatusFailure, denied, time.Second)
	m.RecordNVMeConnect(ctx, denied, time.Second)
	m.RecordNVMeDeviceWait(ctx, nil, time.Second)
	m.RecordNVMeDisconnect(ctx, DisconnectRollback, denied)
	m.RecordMountOp(ctx, MountOpMkfs, nil, time.Second)
	m.RecordFormatDecision(ctx, FormatRefusedNotBlank)
	m.RecordRouterOSCommand(ctx, CommandExport, fault.E("exec", fault.UnknownOutcome, errors.New("lost")), time.Second)
	m.RecordSSHDial(ctx, fault.E("dial", fault.SSHHostKey, errors.New("differs")), time.Second)
	m.RecordSSHSessionWait(ctx, time.Second)
	m.RecordBuild(ctx, ComponentBoth, "v1", "abc", "go1")
	during := collect(t, reader)
	done()
	points := collect(t, reader)

	tests := []struct {
		name  string
		attrs []string
	}{
		{"rds_csi.volume.operations", []string{"operation=stage", "status=noop"}},
		{"rds_csi.volume.operations", []string{"operation=stage", "status=failure", "error.type=nvme_denied"}},
		{"rds_csi.volume.operations", []string{"operation=stage", "status=failure", "error.type=_OTHER"}},
		// nvme_denied is not among what can end a CreateVolume.
		{"rds_csi.volume.operations", []string{"operation=create", "status=failure", "error.type=_OTHER"}},
		{"rds_csi.volume.operation.duration", []string{"operation=stage", "status=noop"}},
		{"rds_csi.nvme.connects", []string{"status=failure", "error.type=nvme_denied"}},
		{"rds_csi.nvme.connect.duration", []string{"status=failure"}},
		{"rds_csi.nvme.device.wait.duration", []string{"status=success"}},
		{"rds_csi.nvme.disconnects", []string{"reason=rollback", "status=failure"}},
		{"rds_csi.mount.operations", []string{"operation=mkfs", "status=success"}},
		{"rds_csi.mount.operation.duration", []string{"operation=mkfs", "status=success"}},
		{"rds_csi.format.decisions", []string{"decision=refused_not_blank"}},
		{"rds_csi.routeros.commands", []string{"command=disk_export", "status=failure", "error.type=routeros_lost_reply"}},
		{"rds_csi.routeros.command.duration", []string{"command=disk_export", "status=failure"}},
		{"rds_csi.ssh.dials", []string{"status=failure", "error.type=ssh_host_key"}},
		{"rds_csi.ssh.dial.duration", []string{"status=failure"}},
		{"rds_csi.ssh.session.wait.duration", nil},
		{"rds_csi.build.info", []string{"component=both", "version=v1", "revision=abc", "go_version=go1"}},
	}
	for _, tt := range tests {
		if got := valueOf(t, points, tt.name, tt.attrs...); got != 1 {
			t.Errorf("%s%v = %d, want 1", tt.name, tt.attrs, got)
		}
	}
	if got := valueOf(t, points, "rds_csi.volume.operation.duration", "operation=stage", "status=failure"); got != 2 {
		t.Errorf("failed stages timed = %d, want 2", got)
	}
	if got := valueOf(t, during, "rds_csi.volume.operations.in_flight", "operation=stage"); got != 1 {
		t.Errorf("in flight during = %d, want 1", got)
	}
	if got := valueOf(t, points, "rds_csi.volume.operations.in_flight", "operation=stage"); got != 0 {
		t.Errorf("in flight after = %d, want 0", got)
	}
}

func TestACancelledCallIsCountedAllTheSame(t *testing.T) {
	m, reader := newTestMetrics(t, ComponentNode)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m.RecordVolumeOp(ctx, OpStage, StatusFailure, ctx.Err(), time.Second)
	points := collect(t, reader)
	if got := valueOf(t, points, "rds_csi.volume.operations", "operation=stage", "status=failure", "error.type=canceled"); got != 1 {
		t.Errorf("counted %d, want 1", got)
	}
}

func TestAFailedLookLeavesTheSeriesOut(t *testing.T) {
	m, reader := newTestMetrics(t, ComponentBoth)
	states := func() (map[ControllerState]int, bool) { return nil, false }
	if err := m.ObserveNVMeControllers(func() (map[ControllerState]int, bool) { return states() }); err != nil {
		t.Fatal(err)
	}
	check := BackendCheck{}
	if err := m.ObserveBackend("rds", func() BackendCheck { return check }); err != nil {
		t.Fatal(err)
	}
	var data metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &data); err != nil {
		t.Errorf("collect: %v: a reader that sends all or nothing would send nothing", err)
	}
	for _, name := range []string{"rds_csi.nvme.controllers", "rds_csi.nvme.connections.active", "rds_csi.backend", "rds_csi.pool", "rds_csi.volumes"} {
		if strings.Contains(fmt.Sprint(data.ScopeMetrics), name) {
			t.Errorf("%s is there after a failed look", name)
		}
	}
	states = func() (map[ControllerState]int, bool) {
		return map[ControllerState]int{ControllerLive: 3, ControllerDead: 1}, true
	}
	check = BackendCheck{Known: true, At: time.Unix(7, 0)} // it was up, and is not any more
	points := collect(t, reader)
	if got := valueOf(t, points, "rds_csi.nvme.connections.active"); got != 3 {
		t.Errorf("active = %d, want 3", got)
	}
	if got := valueOf(t, points, "rds_csi.nvme.controllers", "state=dead"); got != 1 {
		t.Errorf("dead = %d, want 1", got)
	}
	if got := valueOf(t, points, "rds_csi.nvme.controllers", "state=resetting"); got != 0 {
		t.Errorf("resetting = %d, want 0", got)
	}
	if got := valueOf(t, points, "rds_csi.backend.up", "array=rds"); got != 0 {
		t.Errorf("backend up = %d, want 0", got)
	}
	for _, name := range []string{"rds_csi.pool", "rds_csi.volumes"} {
		if strings.Contains(fmt.Sprint(points), name) {
			t.Errorf("%s is there although the array did not tell", name)
		}
	}
	check = fullBackend()
	points = collect(t, reader)
	for name, want := range map[string]int64{"capacity": 100, "usage": 30, "provisioned": 120} {
		if got := valueOf(t, points, "rds_csi.pool."+name, "array=rds", "pool=btrfs-1"); got != want {
			t.Errorf("%s = %d, want %d", name, got, want)
		}
	}
	if got := valueOf(t, points, "rds_csi.volumes", "array=rds", "state=managed"); got != 3 {
		t.Errorf("volumes = %d, want 3", got)
	}
	if got := valueOf(t, points, "rds_csi.volumes", "array=rds", "state=orphan"); got != 1 {
		t.Errorf("orphans = %d, want 1", got)
	}
	check.Orphans = nil
	if n := len(collect(t, reader)["rds_csi.volumes"]); n != 1 {
		t.Errorf("%d series of volumes while orphans are not known, want that of the managed", n)
	}
	check.Full, check.Orphans = nil, new(int64)
	if n := len(collect(t, reader)["rds_csi.volumes"]); n != 0 {
		t.Errorf("%d series of volumes that are not known", n)
	}
}

// fullBackend is a look that gave all there is.
func fullBackend() BackendCheck {
	return BackendCheck{Known: true, Up: true, At: time.Unix(7, 0), Full: &BackendUsage{
		Volumes: 3, Pools: []PoolUsage{{Name: "btrfs-1", Capacity: 100, Usage: 30, Provisioned: 120}},
	}, Orphans: new(int64(1))}
}

func TestPossibleReasonsAreMembersOnceAndHoldOther(t *testing.T) {
	lists := map[string][]fault.Reason{"dial": dialReasons(), "connect": connectReasons()}
	for _, op := range Operations() {
		lists[string(op)] = operationReasons(op)
	}
	for _, command := range Commands() {
		lists[string(command)] = commandReasons(command)
	}
	for name, reasons := range lists {
		seen := map[fault.Reason]bool{}
		for _, reason := range reasons {
			if seen[reason] || listedReason(reason) != reason {
				t.Errorf("%s: %q is there twice, or is no reason", name, reason)
			}
			seen[reason] = true
		}
		if !seen[fault.ReasonOther] {
			t.Errorf("%s: no place for what nobody expected", name)
		}
	}
	for _, reason := range fault.Reasons() {
		if reason.Kind() != fault.Internal && !slices.ContainsFunc(Operations(), func(op Operation) bool {
			return slices.Contains(operationReasons(op), reason)
		}) {
			t.Errorf("no operation can end with %q", reason)
		}
	}
}

func TestNoopRecordsNothingAndNeverFails(t *testing.T) {
	m := Noop()
	recordAll(t.Context(), m)
	if err := m.ObserveNVMeControllers(func() (map[ControllerState]int, bool) { return nil, true }); err != nil {
		t.Error(err)
	}
	if err := m.ObserveBackend("rds", fullBackend); err != nil {
		t.Error(err)
	}
}

func TestRecordingAllocatesNothing(t *testing.T) {
	m, _ := newTestMetrics(t, ComponentBoth)
	ctx := t.Context()
	for name, record := range map[string]func(){
		"volume":  func() { m.RecordVolumeOp(ctx, OpStage, StatusSuccess, nil, time.Second) },
		"connect": func() { m.RecordNVMeConnect(ctx, nil, time.Second) },
		"mount":   func() { m.RecordMountOp(ctx, MountOpMount, nil, time.Second) },
		"command": func() { m.RecordRouterOSCommand(ctx, CommandDiskAdd, nil, time.Second) },
	} {
		if allocs := testing.AllocsPerRun(100, record); allocs > 2 {
			t.Errorf("%s: %.0f allocations", name, allocs)
		}
	}
}

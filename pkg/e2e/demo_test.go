package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
)

// document is what demo --json prints (docs/reference/demo.md).
type document struct {
	OK         bool   `json:"ok"`
	DataPath   string `json:"data_path"`
	LeftOut    string `json:"left_out"`
	MetricsURL string `json:"metrics_url"`
	TraceID    string `json:"trace_id"`
	Steps      []struct {
		RPC  string  `json:"rpc"`
		Code string  `json:"code"`
		MS   float64 `json:"ms"`
	} `json:"steps"`
}

func parseDocument(t *testing.T, p *program.Process) document {
	t.Helper()
	var doc document
	decoder := json.NewDecoder(strings.NewReader(p.Stdout.String()))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&doc); err != nil {
		t.Fatalf("not the one document that was promised: %v", err)
	}
	if decoder.More() {
		t.Error("there is more than one document")
	}
	return doc
}

func TestDemoShowsAVolumesWholeLifeAndLeavesNothing(t *testing.T) {
	needRoot(t)
	dir, leftNothing := leavesNothing(t)
	p := program.Begin(t, built("rds-csi-plugin"), []string{"TMPDIR=" + dir}, "demo", "--json", "--metrics-address=127.0.0.1:0")
	if code := p.Code(t); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	doc := parseDocument(t, p)
	if !doc.OK || doc.DataPath != "loop" && doc.DataPath != "nvme" || doc.MetricsURL == "" || len(doc.TraceID) != 32 {
		t.Errorf("document: %+v", doc)
	}
	var rpcs []string
	for _, s := range doc.Steps {
		if s.Code != "OK" || s.MS <= 0 {
			t.Errorf("step %+v", s)
		}
		rpcs = append(rpcs, s.RPC)
	}
	for _, want := range []string{
		"CreateVolume", "ControllerPublishVolume", "NodeStageVolume", "NodePublishVolume", "NodeGetVolumeStats",
		"ControllerExpandVolume", "NodeUnpublishVolume", "NodeUnstageVolume", "ControllerUnpublishVolume", "DeleteVolume",
	} {
		if !strings.Contains(strings.Join(rpcs, " ")+" ", want+" ") {
			t.Errorf("%s is missing in %v", want, rpcs)
		}
	}
	leftNothing()
}

func TestDemoForAnOrdinaryUserSaysWhatItLeavesOut(t *testing.T) {
	dir, leftNothing := leavesNothing(t)
	var nobody *syscall.Credential
	if os.Geteuid() == 0 {
		nobody = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	p := program.BeginAs(t, nobody, built("rds-csi-plugin"), []string{"TMPDIR=" + dir}, "demo", "--json", "--metrics-address=127.0.0.1:0")
	if code := p.Code(t); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	doc := parseDocument(t, p)
	if !doc.OK || doc.DataPath != "none" || !strings.Contains(doc.LeftOut, "root") || len(doc.Steps) == 0 {
		t.Errorf("document: %+v", doc)
	}
	leftNothing()
}

// Ctrl-C may come at any step: between and within them.
func TestDemoCleansUpAfterCtrlC(t *testing.T) {
	needRoot(t)
	for _, step := range []string{"CreateVolume ", "ControllerPublishVolume ", "NodeStageVolume ", "NodePublishVolume ", "NodeGetVolumeStats ", "NodeUnstageVolume "} {
		t.Run(strings.TrimSpace(step), func(t *testing.T) {
			dir, leftNothing := leavesNothing(t)
			p := program.Begin(t, built("rds-csi-plugin"), []string{"TMPDIR=" + dir}, "demo", "--metrics-address=", "--array-latency=100ms")
			program.Await(t, "step "+step, func() bool { return strings.Contains(p.Stdout.String(), step) })
			p.Signal(t, os.Interrupt)
			code := p.Code(t)
			done := strings.Contains(p.Stdout.String(), "Done;")
			if code == 0 != done || code == 1 && !strings.Contains(p.Stderr.String(), "interrupted") && !strings.Contains(p.Stderr.String(), "anceled") {
				t.Errorf("exit code %d, done %v", code, done)
			}
			leftNothing()
		})
	}
}

func TestDemoKeepServesMetricsUntilCtrlC(t *testing.T) {
	dir, leftNothing := leavesNothing(t)
	p := program.Begin(t, built("rds-csi-plugin"), []string{"TMPDIR=" + dir}, "demo", "--keep", "--metrics-address=127.0.0.1:0")
	program.Await(t, "stays up", func() bool { return strings.Contains(p.Stdout.String(), "Staying up") })
	_, rest, _ := strings.Cut(p.Stdout.String(), "Metrics: ")
	url, _, _ := strings.Cut(rest, "\n")
	body := get(t, url, http.StatusOK)
	checkMetrics(t, body)
	for _, want := range []string{
		`rds_csi_volume_operations_total{operation="create",status="success"} 1`,
		`rds_csi_volume_operations_total{operation="delete",status="success"} 1`,
		`rds_csi_volume_operations_total{operation="attach",status="noop"} 0`,
		`rds_csi_backend_up{array="rds"} 1`,
		`rds_csi_routeros_commands_total{command="disk_add",status="success"} 1`,
		"# TYPE rpc_server_call_duration_seconds histogram",
		"# TYPE rds_csi_build_info gauge",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
	base := strings.TrimSuffix(url, "/metrics")
	get(t, base+"/livez", http.StatusOK)
	get(t, base+"/readyz", http.StatusOK)
	p.Signal(t, os.Interrupt)
	if code := p.Code(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	leftNothing()
}

// checkMetrics runs promtool over a scrape, where it is installed.
func checkMetrics(t *testing.T, body string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Log("promtool check metrics: left out, promtool is not installed")
		return
	}
	cmd := exec.Command(path, "check", "metrics")
	cmd.Stdin = strings.NewReader(body)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Errorf("promtool check metrics: %v\n%s", err, &out)
	}
}

func get(t *testing.T, url string, status int) string {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status {
		t.Fatalf("%s: status %d, want %d; %v\n%s", url, resp.StatusCode, status, err, body)
	}
	return string(body)
}

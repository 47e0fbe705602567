package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
)

const monitoring = "../../manifests/monitoring"

// prometheusConfig scrapes so often that it sees the demo's counters before they move. The labels are those
// that the monitors give.
const prometheusConfig = `
global: {scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 500ms}
rule_files: [%q]
scrape_configs:
  - job_name: rds-csi-driver
    static_configs: [{targets: [%q], labels: {namespace: rds-csi, node: w1, pod: p1}}]
`

// prometheus is a real one.
type prometheus struct {
	process *program.Process
	base    string
}

// startPrometheus scrapes target and has the rules that are shipped.
func startPrometheus(t *testing.T, target string) *prometheus {
	t.Helper()
	rules, err := filepath.Abs(filepath.Join(monitoring, "rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return beginPrometheus(t, fmt.Sprintf(prometheusConfig, rules, target))
}

func beginPrometheus(t *testing.T, text string) *prometheus {
	t.Helper()
	path, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("left out: a real Prometheus that scrapes the driver, prometheus is not installed")
	}
	config := filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	address := program.FreeAddress(t)
	p := &prometheus{base: "http://" + address}
	p.process = program.Begin(t, path, nil, "--config.file="+config, "--storage.tsdb.path="+t.TempDir(),
		"--web.listen-address="+address, "--enable-feature=exemplar-storage", "--log.level=warn")
	program.Await(t, "prometheus is ready", func() bool {
		if !p.process.Running() {
			t.Fatal("prometheus ended")
		}
		resp, err := http.Get(p.base + "/-/ready")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return p
}

// ask calls the API (prometheus.io/docs/prometheus/latest/querying/api). It fails the test where the answer is
// not a success.
func (p *prometheus) ask(t *testing.T, path string, args url.Values, into any) {
	t.Helper()
	var answer struct {
		Status string          `json:"status"`
		Data   json.RawMessage `json:"data"`
	}
	body := get(t, p.base+"/api/v1/"+path+"?"+args.Encode(), http.StatusOK)
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Status != "success" {
		t.Fatalf("%s %v: %v: %s", path, args, err, body)
	}
	if err := json.Unmarshal(answer.Data, into); err != nil {
		t.Fatalf("%s %v: %v: %s", path, args, err, body)
	}
}

// query tells how many series an expression gives now.
func (p *prometheus) query(t *testing.T, expr string) int {
	t.Helper()
	var data struct {
		Result []json.RawMessage `json:"result"`
	}
	p.ask(t, "query", url.Values{"query": {expr}}, &data)
	return len(data.Result)
}

func (p *prometheus) await(t *testing.T, condition string) {
	t.Helper()
	program.Await(t, condition, func() bool { return p.query(t, condition) > 0 })
}

// The demo runs under the eyes of a real Prometheus.
func TestARealPrometheusUnderstandsItAll(t *testing.T) {
	dir, leftNothing := leavesNothing(t)
	target := program.FreeAddress(t)
	prom := startPrometheus(t, target)
	prom.await(t, `up{job="rds-csi-driver"} == 0`) // it takes seconds to begin, and is to see what the demo does
	demo := program.Begin(t, built("rds-csi-plugin"), []string{"TMPDIR=" + dir}, "demo", "--keep", "--metrics-address="+target, "--array-latency=100ms")
	program.Await(t, "stays up", func() bool { return strings.Contains(demo.Stdout.String(), "Staying up") })

	prom.await(t, `up{job="rds-csi-driver"} == 1`)
	prom.await(t, `rds_csi_volume_operations_total{operation="delete",status="success"} == 1`)
	prom.await(t, `count_over_time(rds_csi_volume_operations_total{operation="delete"}[1m]) >= 2`) // for a rate
	t.Run("rules", func(t *testing.T) { checkRules(t, prom) })
	t.Run("dashboards", func(t *testing.T) { checkDashboards(t, prom) })
	t.Run("exemplars", func(t *testing.T) { checkExemplars(t, prom, demo.Stdout.String()) })

	for _, p := range []*program.Process{prom.process, demo} {
		p.Signal(t, syscall.SIGTERM)
		if code := p.Code(t); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
	leftNothing()
}

type evaluated struct {
	Name      string `json:"name"`
	Type      string `json:"type"`
	Health    string `json:"health"` // unknown before the first evaluation
	State     string `json:"state"`
	LastError string `json:"lastError"`
}

func (p *prometheus) rules(t *testing.T) []evaluated {
	t.Helper()
	var data struct {
		Groups []struct {
			Rules []evaluated `json:"rules"`
		} `json:"groups"`
	}
	p.ask(t, "rules", nil, &data)
	var all []evaluated
	for _, g := range data.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// checkRules sees every rule evaluated, and that a driver which is well raises no alarm.
func checkRules(t *testing.T, p *prometheus) {
	t.Helper()
	p.await(t, `rds_csi:volume_operations:error_ratio_rate5m{operation="delete"} == 0`)
	program.Await(t, "all rules are evaluated", func() bool {
		unknown := 0
		for _, r := range p.rules(t) {
			if r.Health == "unknown" {
				unknown++
			}
		}
		return unknown == 0
	})
	found := p.rules(t)
	if len(found) < 20 {
		t.Errorf("only %d rules are loaded", len(found))
	}
	for _, r := range found {
		if r.Health != "ok" || r.State == "firing" {
			t.Errorf("%s %s: health %s, state %s, %s", r.Type, r.Name, r.Health, r.State, r.LastError)
		}
	}
}

// panelQueries are a dashboard's queries by the panel's title, with values in the place of Grafana's variables.
func panelQueries(t *testing.T, file string) map[string][]string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string `json:"title"`
			Targets []struct {
				Expr string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	if err := json.Unmarshal(data, &dashboard); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	durations := strings.NewReplacer("$__rate_interval", "1m", "$__range", "1h")
	queries := map[string][]string{}
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			expr := regexp.MustCompile(`\$\w+`).ReplaceAllString(durations.Replace(target.Expr), ".*")
			queries[panel.Title] = append(queries[panel.Title], expr)
		}
	}
	return queries
}

// checkDashboards asks every query of every dashboard. What the demo does on every machine must be seen.
func checkDashboards(t *testing.T, p *prometheus) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(monitoring, "dashboards/*.json"))
	if err != nil || len(files) < 4 {
		t.Fatalf("found %v: %v", files, err)
	}
	shown := map[string]bool{}
	for _, file := range files {
		for title, queries := range panelQueries(t, file) {
			for _, expr := range queries {
				shown[title] = p.query(t, expr) > 0 || shown[title]
			}
		}
	}
	for _, title := range []string{
		"Array", "Versions", "Operations", "Operations that succeed", "Failures by reason", "Operations under way",
		"Duration of operations that did something", "Duration of all CSI calls", "Duration of calls", "Calls by gRPC code",
		"Commands", "Duration of commands", "Dials", "Duration of dials", "Wait for a session", "Memory",
	} {
		if !shown[title] {
			t.Errorf("no dashboard shows anything at %q", title)
		}
	}
}

// checkExemplars finds the very trace that the demo has printed by way of the metrics.
func checkExemplars(t *testing.T, p *prometheus, printed string) {
	t.Helper()
	m := regexp.MustCompile(`(?m)^trace ([0-9a-f]{32}),`).FindStringSubmatch(printed)
	if m == nil {
		t.Fatalf("the demo printed no trace: %s", printed)
	}
	now := time.Now()
	args := url.Values{
		"query": {`rds_csi_volume_operation_duration_seconds_bucket{operation=~"create|stage"}`},
		"start": {now.Add(-time.Hour).Format(time.RFC3339)}, "end": {now.Add(time.Minute).Format(time.RFC3339)},
	}
	var found []string
	program.Await(t, "exemplars", func() bool {
		found = p.traceIDs(t, args)
		return len(found) > 0
	})
	if !strings.Contains(strings.Join(found, " "), m[1]) {
		t.Errorf("the exemplars lead to the traces %v, and not to %s, which the demo has printed", found, m[1])
	}
}

func (p *prometheus) traceIDs(t *testing.T, args url.Values) []string {
	t.Helper()
	var data []struct {
		Exemplars []struct {
			Labels map[string]string `json:"labels"`
		} `json:"exemplars"`
	}
	p.ask(t, "query_exemplars", args, &data)
	var ids []string
	for _, series := range data {
		for _, e := range series.Exemplars {
			ids = append(ids, e.Labels["trace_id"])
		}
	}
	return ids
}

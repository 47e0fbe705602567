package e2e

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/goldentest"
)

const alertsConfig = `
global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
  - job_name: rds-csi-driver
    static_configs:
%s`

// Every alert is provoked that can be on this machine, each in a namespace of its own; what is well raises none.
func TestEveryAlertIsProvoked(t *testing.T) {
	checkAlertsReference(t)
	if _, err := exec.LookPath("prometheus"); err != nil {
		t.Skip("left out: alerts that a real Prometheus raises, prometheus is not installed")
	}
	_, noLoops := os.Stat("/dev/loop-control")
	loops := os.Geteuid() == 0 && noLoops == nil
	if !loops {
		t.Log("left out: the runs with loop devices, which need root and /dev/loop-control")
	}
	all := provokeAll(t, loops)
	p := beginPrometheus(t, fmt.Sprintf(alertsConfig, shorter(t), all.pods))
	p.await(t, fmt.Sprintf(`count(up == 1) >= %d`, len(all.plugins)))
	p.await(t, `count(rds_csi_backend_refresh_time_seconds) >= 5`)
	var acts sync.WaitGroup
	for _, act := range all.later {
		acts.Go(act)
	}
	acts.Wait()
	if loops {
		p.awaitPanels(t)
	}
	p.awaitFiring(t, all.alerts)
	p.await(t, `rds_csi_volumes{state="orphan"} == 1 and on (pod) rds_csi_volumes{state="managed"} == 2`)
	p.neverFired(t, `namespace="well"`)
	p.neverFired(t, `alertname="RDSCSIControllerAbsent"`)
	p.neverFired(t, `alertname="RDSCSIOrphanVolumes",namespace!="orphans"`)
	for _, plugin := range all.plugins {
		plugin.Kill(t)
	}
	p.awaitFiring(t, []string{"(all) RDSCSIControllerAbsent"})
}

// provoked is what all the runs come to.
type provoked struct {
	pods    string // as Prometheus is told of them
	plugins []*service
	later   []func()
	alerts  []string // as "namespace alert"
}

func provokeAll(t *testing.T, loops bool) (all provoked) {
	t.Helper()
	for _, r := range runs() {
		if r.start == nil || r.loops && !loops {
			continue
		}
		under := &running{}
		r.start(t, under)
		for i, target := range under.targets {
			all.pods += fmt.Sprintf("      - {targets: [%q], labels: {namespace: %s, node: w1, pod: %s-%d}}\n", target, r.namespace, r.namespace, i)
		}
		for _, alert := range r.alerts {
			all.alerts = append(all.alerts, r.namespace+" "+alert)
		}
		all.plugins = append(all.plugins, under.plugins...)
		if under.later != nil {
			all.later = append(all.later, under.later)
		}
	}
	return all
}

// shorter makes of the rules that are shipped those of the test: alerts that wait do so for ten seconds, which a
// busy machine needs for a call that is well. Expressions stay as they are, but for the two that compare an age:
// the array's numbers are renewed every 30 s, a node looks every few seconds.
func shorter(t *testing.T) (path string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(monitoring, "rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`(?m)^( +for: ).*$`).ReplaceAllString(string(data), "${1}10s")
	for _, age := range [][2]string{{"check_time_seconds) > 300", "check_time_seconds) > 20"}, {"refresh_time_seconds) > 900", "refresh_time_seconds) > 50"}} {
		if strings.Count(text, age[0]) != 1 {
			t.Fatalf("the rules do not have %q once", age[0])
		}
		text = strings.Replace(text, age[0], age[1], 1)
	}
	path = filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// firing are the alerts that fire now, as "namespace alert".
func (p *prometheus) firing(t *testing.T) map[string]bool {
	t.Helper()
	var data struct {
		Alerts []struct {
			Labels map[string]string `json:"labels"`
			State  string            `json:"state"`
		} `json:"alerts"`
	}
	p.ask(t, "alerts", nil, &data)
	found := map[string]bool{}
	for _, a := range data.Alerts {
		if a.State == "firing" {
			namespace := a.Labels["namespace"]
			if namespace == "" {
				namespace = "(all)"
			}
			found[namespace+" "+a.Labels["alertname"]] = true
		}
	}
	return found
}

// awaitFiring waits until all of them fire at the same moment.
func (p *prometheus) awaitFiring(t *testing.T, want []string) {
	t.Helper()
	for deadline := time.Now().Add(program.Patience); ; time.Sleep(200 * time.Millisecond) {
		found := p.firing(t)
		missing := slices.DeleteFunc(slices.Clone(want), func(alert string) bool { return found[alert] })
		if len(missing) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not firing: %v; firing: %v", missing, slices.Sorted(maps.Keys(found)))
		}
	}
}

// neverFired looks back to the start for alerts with these labels.
func (p *prometheus) neverFired(t *testing.T, labels string) {
	t.Helper()
	var data struct {
		Result []struct {
			Metric map[string]string `json:"metric"`
		} `json:"result"`
	}
	p.ask(t, "query", url.Values{"query": {`count_over_time(ALERTS{alertstate="firing",` + labels + `}[1h])`}}, &data)
	for _, found := range data.Result {
		t.Errorf("has fired, and was not to: %v", found.Metric)
	}
}

// checkAlertsReference holds docs/reference/alerts.md to the runs, and these to the rules.
func checkAlertsReference(t *testing.T) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(monitoring, "rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	table := "| Alert | Provoked by |\n|---|---|\n"
	for _, m := range regexp.MustCompile(`(?m)^ +- alert: (\w+)$`).FindAllStringSubmatch(string(data), -1) {
		var by []string
		for _, r := range runs() {
			if slices.Contains(r.alerts, m[1]) {
				by = append(by, r.says)
			}
		}
		if why, ok := elsewhere()[m[1]]; ok {
			by = append(by, why)
		}
		if len(by) == 0 {
			t.Errorf("no run provokes %s", m[1])
		}
		table += fmt.Sprintf("| [`%s`](../runbooks/%s.md) | %s |\n", m[1], m[1], strings.Join(by, "; or "))
	}
	goldentest.Section(t, "../../docs/reference/alerts.md", "alerts", table)
}

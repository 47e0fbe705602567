package guest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
)

// scrapeInterval is what lies between two scrapes for the alerts' expressions, however fast they were taken.
const scrapeInterval = 15 * time.Second

// history is what a Prometheus would have of a node's gauges and counters.
type history struct {
	node   *node
	taken  int
	series map[string][]string // by the series' name as in a scrape; "_" where it was absent
}

func (h *history) scrape(t *testing.T) {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(h.node.metrics()))
	ok(t, err)
	if h.series == nil {
		h.series = map[string][]string{}
	}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			value := m.GetGauge().GetValue() + m.GetCounter().GetValue()
			if m.GetGauge() == nil && m.GetCounter() == nil || !strings.HasPrefix(name, "rds_csi_") {
				continue
			}
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			id := name + "{" + strings.Join(labels, ",") + "}"
			for len(h.series[id]) < h.taken {
				h.series[id] = append(h.series[id], "_")
			}
			h.series[id] = append(h.series[id], strconv.FormatFloat(value, 'g', -1, 64))
		}
	}
	h.taken++
	for id := range h.series {
		if len(h.series[id]) < h.taken {
			h.series[id] = append(h.series[id], "_")
		}
	}
}

// mustShow has promtool say, of each alert, whether its expression holds at the last scrape as wanted. How long it
// has to is left out: promtool's own tests of the rules have that.
func (h *history) mustShow(t *testing.T, when string, want map[string]bool) {
	t.Helper()
	type series struct {
		Series string `yaml:"series"`
		Values string `yaml:"values"`
	}
	var input []series
	for id, values := range h.series {
		input = append(input, series{id, strings.Join(values, " ")})
	}
	var questions []any
	for alert, holds := range want {
		value := 0
		if holds {
			value = 1
		}
		questions = append(questions, map[string]any{
			"expr":        "clamp_max(count(" + expressionOf(t, alert) + "), 1) or vector(0)",
			"eval_time":   (time.Duration(h.taken-1) * scrapeInterval).String(),
			"exp_samples": []any{map[string]any{"labels": "{}", "value": value}},
		})
	}
	interval := scrapeInterval.String()
	data, err := yaml.Marshal(map[string]any{"evaluation_interval": interval, "tests": []any{
		map[string]any{"interval": interval, "input_series": input, "promql_expr_test": questions},
	}})
	ok(t, err)
	path := filepath.Join(t.TempDir(), "test.yaml")
	ok(t, os.WriteFile(path, data, 0o600))
	if out, err := exec.CommandContext(t.Context(), built("promtool"), "test", "rules", path).CombinedOutput(); err != nil {
		t.Errorf("%s: promtool: %v: %s", when, err, out)
	}
}

// expressionOf is the expression of an alert as it is shipped.
func expressionOf(t *testing.T, alert string) string {
	t.Helper()
	data, err := os.ReadFile(built("rules.yaml"))
	ok(t, err)
	var file struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	ok(t, yaml.Unmarshal(data, &file))
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if r.Alert == alert {
				return r.Expr
			}
		}
	}
	t.Fatalf("no alert %s is shipped", alert)
	return ""
}

// The alerts that only a real kernel can provoke see an outage that becomes a loss, and its end.
func TestAlertsSeeAnOutageAndItsEnd(t *testing.T) {
	const notLive, cutOff, lost, stale, notHealed = "RDSCSINVMeControllerNotLive", "RDSCSINodeCutOff", "RDSCSINVMeControllerLost",
		"RDSCSIStaleMounts", "RDSCSIStaleMountRecoveryFailed"
	if _, err := os.Stat(built("promtool")); err != nil {
		t.Skip("left out: what alerts see on a real kernel; promtool is not installed on the host")
	}
	ctx, c := t.Context(), newCluster(t)
	n := c.newNode("node-1")
	p := newProxy(t, c.array.portal())
	n.through(p)
	v := c.create(ctx, spec{name: "pvc-1", params: map[string]string{"ctrlLossTmo": "20", "reconnectDelay": "1"}})
	ok(t, c.attach(ctx, v, n, "pod"))
	held, err := os.Open(n.staging(v)) // a dead mount that is in use cannot be taken down
	ok(t, err)
	defer held.Close()
	h := &history{node: n}
	sees := func(when string, holding ...string) {
		t.Helper()
		h.scrape(t)
		want := map[string]bool{}
		for _, alert := range []string{notLive, cutOff, lost, stale, notHealed} {
			want[alert] = slices.Contains(holding, alert)
		}
		h.mustShow(t, when, want)
	}
	program.Await(t, "the controller is counted", func() bool { return n.is(`rds_csi_nvme_controllers{state="live"}`, 1) && n.is(healthySeries, 1) })
	h.scrape(t)
	sees("while all is well")
	p.cut()
	program.Await(t, "the outage is counted", func() bool { return n.is(`rds_csi_nvme_controllers{state="live"}`, 0) })
	sees("while the target is away", notLive, cutOff)
	program.Await(t, "the loss is counted", func() bool {
		return n.is(lostSeries, 1) && n.is(staleSeries, 1) && n.is(`rds_csi_nvme_controllers{state="connecting"}`, 0)
	})
	sees("after the kernel gave up", lost, stale)
	p.heal()
	program.Await(t, "the dead mount cannot be taken down", func() bool { failures, _ := n.metric(failuresSeries); return failures > 0 })
	sees("while somebody holds the dead mount", lost, stale, notHealed)
	ok(t, held.Close())
	n.mustHealAll(t, time.Now(), 1)
	sees("after it was healed", lost) // which looks back 15 minutes
	ok(t, c.detach(ctx, v, n, "pod"))
	ok(t, c.delete(ctx, v))
}

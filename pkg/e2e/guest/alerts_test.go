package guest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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

// sees lets promtool say which of the alerts have an expression that holds at the last scrape. How long it has to
// is left out: promtool's own tests of the rules have that.
func (h *history) sees(t *testing.T, alerts ...string) string {
	t.Helper()
	var seen []string
	for _, alert := range alerts {
		if h.holds(t, "("+expressionOf(t, alert)+")") {
			seen = append(seen, alert)
		}
	}
	return strings.Join(seen, " ")
}

// holds has promtool say that an expression gives something, or that it gives nothing: it fails at one of both.
func (h *history) holds(t *testing.T, expression string) bool {
	t.Helper()
	something, nothing := h.promtool(t, expression, 1), h.promtool(t, expression, 0)
	if (something == nil) == (nothing == nil) {
		t.Fatalf("promtool: %v; %v", something, nothing)
	}
	return something == nil
}

func (h *history) promtool(t *testing.T, expression string, want int) error {
	t.Helper()
	type series struct {
		Series string `yaml:"series"`
		Values string `yaml:"values"`
	}
	var input []series
	for id, values := range h.series {
		input = append(input, series{id, strings.Join(values, " ")})
	}
	interval := scrapeInterval.String()
	data, err := yaml.Marshal(map[string]any{"evaluation_interval": interval, "tests": []any{map[string]any{
		"interval": interval, "input_series": input,
		"promql_expr_test": []any{map[string]any{
			"expr":        "clamp_max(count(" + expression + "), 1) or vector(0)",
			"eval_time":   (time.Duration(h.taken-1) * scrapeInterval).String(),
			"exp_samples": []any{map[string]any{"labels": "{}", "value": want}},
		}},
	}}})
	ok(t, err)
	path := filepath.Join(t.TempDir(), "test.yaml")
	ok(t, os.WriteFile(path, data, 0o600))
	out, err := exec.CommandContext(t.Context(), built("promtool"), "test", "rules", path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
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
	sees := func(when string, want ...string) {
		t.Helper()
		h.scrape(t)
		if got := h.sees(t, notLive, cutOff, lost, stale, notHealed); got != strings.Join(want, " ") {
			t.Errorf("%s: the alerts that see something are %q, want %q", when, got, want)
		}
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

package monitoring

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/goldentest"
)

type ruleFile struct {
	Groups []struct {
		Name  string `yaml:"name"`
		Rules []rule `yaml:"rules"`
	} `yaml:"groups"`
}

type rule struct {
	Record      string            `yaml:"record"`
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func rules(t *testing.T) []rule {
	t.Helper()
	var file ruleFile
	decode(t, "rules.yaml", &file)
	var all []rule
	for _, group := range file.Groups {
		all = append(all, group.Rules...)
	}
	if len(all) < 10 {
		t.Fatalf("rules.yaml has %d rules", len(all))
	}
	return all
}

func alerts(t *testing.T) []rule {
	t.Helper()
	var found []rule
	for _, r := range rules(t) {
		if r.Alert != "" {
			found = append(found, r)
		}
	}
	return found
}

const runbookURL = "https://git.srvlab.io/whiskey/rds-csi-driver/src/branch/main/docs/runbooks/"

func TestEveryAlertSaysWhatAnOperatorNeeds(t *testing.T) {
	name := regexp.MustCompile(`^RDSCSI[A-Z][A-Za-z]+$`)
	severity := regexp.MustCompile(`^(critical|warning|info)$`)
	seen := map[string]bool{}
	for _, a := range alerts(t) {
		if !name.MatchString(a.Alert) || seen[a.Alert] {
			t.Errorf("%s: not a name of its own of the form %s", a.Alert, name)
		}
		seen[a.Alert] = true
		if !severity.MatchString(a.Labels["severity"]) || len(a.Labels) != 1 {
			t.Errorf("%s: labels %v, want a severity %s", a.Alert, a.Labels, severity)
		}
		for _, key := range []string{"summary", "description"} {
			if !strings.HasSuffix(a.Annotations[key], ".") {
				t.Errorf("%s: its %s is no sentence: %q", a.Alert, key, a.Annotations[key])
			}
		}
		if want := runbookURL + a.Alert + ".md"; a.Annotations["runbook_url"] != want || len(a.Annotations) != 3 {
			t.Errorf("%s: annotations %v, want summary, description, runbook_url %s", a.Alert, a.Annotations, want)
		}
	}
}

// An annotation that names a label which the expression takes away says "<no value>".
func TestAnnotationsUseLabelsThatTheAlertHas(t *testing.T) {
	used := regexp.MustCompile(`\$labels\.(\w+)`)
	for _, a := range alerts(t) {
		for _, m := range used.FindAllStringSubmatch(a.Annotations["summary"]+a.Annotations["description"], -1) {
			if !outputLabels(t, a.Expr)[m[1]] {
				t.Errorf("%s: an annotation uses the label %s, which its expression does not give", a.Alert, m[1])
			}
		}
	}
}

// testFile is promtool's: prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules.
type testFile struct {
	RuleFiles          []string `yaml:"rule_files"`
	EvaluationInterval string   `yaml:"evaluation_interval"`
	Tests              []struct {
		Name        string      `yaml:"name"`
		Interval    string      `yaml:"interval"`
		InputSeries []yaml.Node `yaml:"input_series"`
		Alerts      []struct {
			EvalTime  string      `yaml:"eval_time"`
			Alertname string      `yaml:"alertname"`
			ExpAlerts []yaml.Node `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
		Expressions []struct {
			Expr     string      `yaml:"expr"`
			EvalTime string      `yaml:"eval_time"`
			Samples  []yaml.Node `yaml:"exp_samples"`
		} `yaml:"promql_expr_test"`
	} `yaml:"tests"`
}

// testFiles are the rules' unit tests.
func testFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.test.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("found %v: %v", files, err)
	}
	return files
}

func TestEveryRuleIsTestedBothWays(t *testing.T) {
	var all testFile
	for _, file := range testFiles(t) {
		var one testFile
		decode(t, file, &one)
		all.Tests = append(all.Tests, one.Tests...)
	}
	firing, quiet := map[string]bool{}, map[string]bool{}
	var expressions strings.Builder
	for _, test := range all.Tests {
		for _, a := range test.Alerts {
			if len(a.ExpAlerts) > 0 {
				firing[a.Alertname] = true
			} else {
				quiet[a.Alertname] = true
			}
		}
		for _, e := range test.Expressions {
			expressions.WriteString(e.Expr + "\n")
		}
	}
	for _, r := range rules(t) {
		switch {
		case r.Alert != "" && (!firing[r.Alert] || !quiet[r.Alert]):
			t.Errorf("%s is tested firing: %t, not firing: %t", r.Alert, firing[r.Alert], quiet[r.Alert])
		case r.Record != "" && !strings.Contains(expressions.String(), r.Record):
			t.Errorf("%s has no promql_expr_test", r.Record)
		}
	}
}

const prometheusRuleHead = `# Made from rules.yaml: UPDATE_GOLDEN=1 go test ./manifests/monitoring
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: rds-csi-driver
  labels:
    app.kubernetes.io/name: rds-csi-driver
spec:
`

func TestPrometheusRuleHasTheRules(t *testing.T) {
	_, groups, ok := strings.Cut(read(t, "rules.yaml"), "groups:\n")
	if !ok {
		t.Fatal("rules.yaml has no groups")
	}
	goldentest.Compare(t, "prometheusrule.yaml", prometheusRuleHead+indent("groups:\n"+groups, "  "))
	var resource struct {
		APIVersion string    `yaml:"apiVersion"`
		Kind       string    `yaml:"kind"`
		Metadata   metadata  `yaml:"metadata"`
		Spec       yaml.Node `yaml:"spec"`
	}
	decode(t, "prometheusrule.yaml", &resource)
	var inside, source ruleFile
	if err := resource.Spec.Decode(&inside); err != nil {
		t.Fatal(err)
	}
	decode(t, "rules.yaml", &source)
	if a, b := marshal(t, inside), marshal(t, source); a != b {
		t.Error("the indented rules are not the same rules")
	}
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	data, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

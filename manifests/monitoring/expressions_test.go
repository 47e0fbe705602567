package monitoring

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// expression is one query, and where it stands.
type expression struct{ where, text string }

// expressions are those of all rules, dashboards and runbooks.
func expressions(t *testing.T) []expression {
	t.Helper()
	var all []expression
	for _, r := range rules(t) {
		all = append(all, expression{"rules.yaml: " + r.Alert + r.Record, r.Expr})
	}
	for _, d := range dashboards(t) {
		all = append(all, d.expressions()...)
	}
	return append(all, runbookQueries(t)...)
}

// plain puts values in the place of Grafana's variables.
func plain(text string) string {
	text = strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h").Replace(text)
	return regexp.MustCompile(`\$\w+`).ReplaceAllString(text, ".*")
}

func parse(t *testing.T, text string) parser.Expr {
	t.Helper()
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(plain(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return expr
}

// selectors are the selectors of series in an expression.
func selectors(node parser.Node) []*parser.VectorSelector {
	var found []*parser.VectorSelector
	parser.Inspect(node, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			found = append(found, s)
		}
		return nil
	})
	return found
}

// known are the families that may be used: the contract's, those of others, and the recorded ones.
func known(t *testing.T) map[string]family {
	t.Helper()
	all := contract(t)
	maps.Copy(all, foreign())
	for _, r := range rules(t) {
		if r.Record != "" {
			all[r.Record] = family{labels: slices.Collect(maps.Keys(outputLabels(t, r.Expr)))}
		}
	}
	return all
}

// familyOf finds a series' family, and gives the family's labels. Of a histogram only its parts are series.
func familyOf(all map[string]family, series string) (name string, f family, ok bool) {
	if f, ok = all[series]; ok && !f.histogram {
		return series, f, true
	}
	for _, part := range []string{"_bucket", "_sum", "_count"} {
		base, is := strings.CutSuffix(series, part)
		if f, ok = all[base]; is && ok && f.histogram {
			if part == "_bucket" {
				f.labels = append(slices.Clone(f.labels), "le")
			}
			return base, f, true
		}
	}
	return "", family{}, false
}

func TestExpressionsUseMetricsThatExist(t *testing.T) {
	all, used := known(t), map[string]bool{}
	for _, e := range expressions(t) {
		for _, s := range selectors(parse(t, e.text)) {
			name, _, ok := familyOf(all, s.Name)
			if !ok {
				t.Errorf("%s: %q is no series of the contract, of others that are listed, or recorded", e.where, s.Name)
			}
			used[name] = true
		}
	}
	for name := range foreign() {
		if !used[name] {
			t.Errorf("%s is listed in foreign() and not used", name)
		}
	}
}

func TestSelectorsUseLabelsAndValuesThatExist(t *testing.T) {
	all, have := known(t), values(t)
	simple := regexp.MustCompile(`^[\w|]+$`)
	for _, e := range expressions(t) {
		for _, s := range selectors(parse(t, e.text)) {
			name, f, _ := familyOf(all, s.Name)
			for _, m := range s.LabelMatchers {
				switch {
				case m.Name == model.MetricNameLabel:
				case !slices.Contains(f.labels, m.Name):
					t.Errorf("%s: %s has no label %s", e.where, name, m.Name)
				case f.later || !strings.HasPrefix(name, "rds_csi_") || slices.Contains(targetLabels(), m.Name) || !simple.MatchString(m.Value):
				default:
					checkValues(t, e.where, m, have[m.Name])
				}
			}
		}
	}
}

func checkValues(t *testing.T, where string, m *labels.Matcher, have []string) {
	t.Helper()
	for value := range strings.SplitSeq(m.Value, "|") {
		if !slices.Contains(have, value) {
			t.Errorf("%s: %s never has the value %q", where, m.Name, value)
		}
	}
}

func TestGroupingsUseLabelsThatExist(t *testing.T) {
	all := known(t)
	for _, e := range expressions(t) {
		parser.Inspect(parse(t, e.text), func(n parser.Node, _ []parser.Node) error {
			a, ok := n.(*parser.AggregateExpr)
			if !ok {
				return nil
			}
			if a.Without {
				t.Errorf("%s: without keeps labels that nobody has looked at; use by", e.where)
			}
			for _, s := range selectors(a.Expr) {
				name, f, _ := familyOf(all, s.Name)
				for _, label := range a.Grouping {
					if !slices.Contains(f.labels, label) {
						t.Errorf("%s: groups by %s, which %s does not have", e.where, label, name)
					}
				}
			}
			return nil
		})
	}
}

// outputLabels are the labels that the result of a rule has for certain: those of its outermost aggregations, or
// of its one selector.
func outputLabels(t *testing.T, text string) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	parser.Inspect(parse(t, text), func(n parser.Node, path []parser.Node) error {
		inner := slices.ContainsFunc(path, func(p parser.Node) bool { _, is := p.(*parser.AggregateExpr); return is })
		switch n := n.(type) {
		case *parser.AggregateExpr:
			for _, label := range n.Grouping {
				if !inner && label != "le" {
					found[label] = true
				}
			}
		case *parser.VectorSelector:
			if !inner && n.Name == "up" {
				for _, label := range targetLabels() {
					found[label] = true
				}
			}
		}
		return nil
	})
	return found
}

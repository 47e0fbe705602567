package charttest

import (
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/goldentest"
)

const referencePage = "../../docs/reference/chart.md"

// TestChartReference compares the tables of docs/reference/chart.md with values.yaml and its comments, or writes them.
func TestChartReference(t *testing.T) {
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(read(t, chart+"/values.yaml")), &document); err != nil {
		t.Fatal(err)
	}
	table := "| Value | Default | |\n|---|---|---|\n" + strings.Join(valueRows(t, "", document.Content[0]), "")
	goldentest.Section(t, referencePage, "values", table)
}

// valueRows are a mapping's values, one row each, those of mappings inside as "outer.inner".
func valueRows(t *testing.T, path string, mapping *yaml.Node) (rows []string) {
	t.Helper()
	for i := 0; i < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		name := strings.TrimPrefix(path+"."+key.Value, ".")
		if value.Kind == yaml.MappingNode && len(value.Content) > 0 && value.Content[0].HeadComment != "" {
			rows = append(rows, valueRows(t, name, value)...)
			continue
		}
		text := comment(key)
		if !strings.HasSuffix(text, ".") && !strings.HasSuffix(text, ".)") {
			t.Errorf("values.yaml: the comment on %s is no sentence: %q", name, text)
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s |\n", name, defaultOf(t, value), strings.ReplaceAll(text, "|", `\|`)))
	}
	return rows
}

// comment is what stands above a key, in one line; what comes before an empty line is about something else.
func comment(key *yaml.Node) string {
	text := key.HeadComment
	if i := strings.LastIndex(text, "\n\n"); i >= 0 {
		text = text[i+2:]
	}
	return strings.ReplaceAll(strings.TrimPrefix(text, "# "), "\n# ", " ")
}

func defaultOf(t *testing.T, value *yaml.Node) string {
	t.Helper()
	if value.Kind == yaml.ScalarNode && value.Value == "" {
		return ""
	}
	flow := *value
	flow.Style = yaml.FlowStyle
	if value.Kind == yaml.ScalarNode {
		flow.Style = 0
	}
	text, err := yaml.Marshal(withoutComments(&flow))
	if err != nil {
		t.Fatal(err)
	}
	return "`" + strings.TrimSpace(string(text)) + "`"
}

func withoutComments(node *yaml.Node) *yaml.Node {
	bare := *node
	bare.HeadComment, bare.LineComment, bare.FootComment = "", "", ""
	bare.Content = nil
	for _, inner := range node.Content {
		bare.Content = append(bare.Content, withoutComments(inner))
	}
	return &bare
}

package monitoring

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/goldentest"
)

type dashboard struct {
	file          string
	UID           string   `json:"uid"`
	Title         string   `json:"title"`
	Tags          []string `json:"tags"`
	SchemaVersion int      `json:"schemaVersion"`
	Panels        []panel  `json:"panels"`
	Templating    struct {
		List []variable `json:"list"`
	} `json:"templating"`
}

type source struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type variable struct {
	Name       string          `json:"name"`
	Type       string          `json:"type"`
	Query      json.RawMessage `json:"query"`
	Definition string          `json:"definition"`
	Datasource source          `json:"datasource"`
}

type panel struct {
	ID          int    `json:"id"`
	Type        string `json:"type"`
	Title       string `json:"title"`
	Datasource  source `json:"datasource"`
	GridPos     grid   `json:"gridPos"`
	FieldConfig struct {
		Defaults struct {
			Unit string `json:"unit"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
	Targets []target `json:"targets"`
}

type grid struct{ X, Y, W, H int }

func (g grid) overlaps(o grid) bool {
	return g.X < o.X+o.W && o.X < g.X+g.W && g.Y < o.Y+o.H && o.Y < g.Y+g.H
}

type target struct {
	Datasource source `json:"datasource"`
	Expr       string `json:"expr"`
	Exemplar   bool   `json:"exemplar"`
	Range      bool   `json:"range"`
	RefID      string `json:"refId"`
}

func dashboards(t *testing.T) []dashboard {
	t.Helper()
	files, err := filepath.Glob("dashboards/*.json")
	if err != nil || len(files) < 4 {
		t.Fatalf("found %v: %v", files, err)
	}
	var all []dashboard
	for _, file := range files {
		d := dashboard{file: file}
		if err := json.Unmarshal([]byte(read(t, file)), &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, d)
	}
	return all
}

// labelValues is Grafana's query for a variable's values.
var labelValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)

// expressions are the queries of panels and variables.
func (d dashboard) expressions() []expression {
	var all []expression
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			all = append(all, expression{fmt.Sprintf("%s: %s (%s)", d.file, p.Title, target.RefID), target.Expr})
		}
	}
	for _, v := range d.Templating.List {
		if m := labelValues.FindStringSubmatch(v.Definition); m != nil {
			all = append(all, expression{d.file + ": variable " + v.Name, fmt.Sprintf("count by (%s) (%s)", m[2], m[1])})
		}
	}
	return all
}

func TestDashboardsAskTheDatasourceThatIsChosen(t *testing.T) {
	chosen := source{"prometheus", "${datasource}"}
	uids := map[string]bool{}
	for _, d := range dashboards(t) {
		if d.UID == "" || uids[d.UID] || d.SchemaVersion == 0 || !slices.Contains(d.Tags, "rds-csi") {
			t.Errorf("%s: uid %q, schemaVersion %d, tags %v", d.file, d.UID, d.SchemaVersion, d.Tags)
		}
		uids[d.UID] = true
		first := d.Templating.List[0]
		if first.Name != "datasource" || first.Type != "datasource" || string(first.Query) != `"prometheus"` {
			t.Errorf("%s: its first variable is %+v", d.file, first)
		}
		for _, v := range d.Templating.List {
			if v.Type == "query" && (v.Datasource != chosen || !labelValues.MatchString(v.Definition)) {
				t.Errorf("%s: variable %s asks %v with %s", d.file, v.Name, v.Datasource, v.Definition)
			}
		}
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				if p.Datasource != chosen || target.Datasource != chosen {
					t.Errorf("%s: %s asks %v, %v", d.file, p.Title, p.Datasource, target.Datasource)
				}
			}
		}
	}
}

func TestDashboardsUseTheVariablesThatTheyHave(t *testing.T) {
	builtin := []string{"__rate_interval", "__range"}
	for _, d := range dashboards(t) {
		var names []string
		for _, v := range d.Templating.List {
			names = append(names, v.Name)
		}
		used := map[string]bool{"datasource": true}
		for _, e := range d.expressions() {
			for _, m := range regexp.MustCompile(`\$(\w+)`).FindAllStringSubmatch(e.text, -1) {
				used[m[1]] = true
				if !slices.Contains(names, m[1]) && !slices.Contains(builtin, m[1]) {
					t.Errorf("%s: there is no variable %s", e.where, m[1])
				}
			}
		}
		for _, name := range names {
			if !used[name] {
				t.Errorf("%s: its variable %s does nothing", d.file, name)
			}
		}
	}
}

func TestPanelsHaveUnitsAndLatenciesHaveExemplars(t *testing.T) {
	quantiles := 0
	for _, d := range dashboards(t) {
		for _, p := range d.Panels {
			if p.Type == "row" {
				continue
			}
			if p.Title == "" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 {
				t.Errorf("%s: panel %d has title %q, unit %q, %d queries", d.file, p.ID, p.Title, p.FieldConfig.Defaults.Unit, len(p.Targets))
			}
			for _, target := range p.Targets {
				latency := strings.Contains(target.Expr, "histogram_quantile")
				if latency {
					quantiles++
				}
				if latency != target.Exemplar || latency && (p.FieldConfig.Defaults.Unit != "s" || !target.Range) {
					t.Errorf("%s: %s: latency %t, exemplar %t, range %t, unit %s", d.file, p.Title, latency, target.Exemplar, target.Range, p.FieldConfig.Defaults.Unit)
				}
			}
		}
	}
	if quantiles < 10 {
		t.Errorf("only %d queries for a latency", quantiles)
	}
}

func TestPanelsHaveAPlaceOfTheirOwn(t *testing.T) {
	for _, d := range dashboards(t) {
		ids := map[int]bool{}
		for i, p := range d.Panels {
			if ids[p.ID] {
				t.Errorf("%s: two panels have the id %d", d.file, p.ID)
			}
			ids[p.ID] = true
			if p.GridPos.W < 1 || p.GridPos.H < 1 || p.GridPos.X+p.GridPos.W > 24 {
				t.Errorf("%s: %s is at %+v, Grafana has 24 columns", d.file, p.Title, p.GridPos)
			}
			for _, o := range d.Panels[:i] {
				if p.GridPos.overlaps(o.GridPos) {
					t.Errorf("%s: %s lies on %s", d.file, p.Title, o.Title)
				}
			}
		}
	}
}

// What the driver measures, somebody can look at.
func TestDashboardsShowTheWholeContract(t *testing.T) {
	all, shown := contract(t), map[string]bool{"rds_csi_volume_info": true} // opt-in, and for joins
	for _, d := range dashboards(t) {
		for _, e := range d.expressions() {
			for _, s := range selectors(parse(t, e.text)) {
				name, _, _ := familyOf(all, s.Name)
				shown[name] = true
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !shown[name] {
			t.Errorf("%s is on no dashboard", name)
		}
	}
}

const configMapHead = `# Made from dashboards/*.json: UPDATE_GOLDEN=1 go test ./manifests/monitoring
# The sidecar of Grafana's Helm chart loads ConfigMaps with this label.
apiVersion: v1
kind: ConfigMap
metadata:
  name: rds-csi-driver-dashboards
  labels:
    app.kubernetes.io/name: rds-csi-driver
    grafana_dashboard: "1"
  annotations:
    grafana_folder: rds-csi
data:
`

// kubectl apply keeps the object in an annotation, and all annotations together may have 256 KiB
// (kubernetes/kubernetes, apimachinery/pkg/api/validation/objectmeta.go, TotalAnnotationSizeLimitB).
const annotationLimit = 256 << 10

func TestConfigMapHasTheDashboards(t *testing.T) {
	var want strings.Builder
	want.WriteString(configMapHead)
	for _, d := range dashboards(t) {
		fmt.Fprintf(&want, "  rds-csi-%s: |\n%s", filepath.Base(d.file), indent(read(t, d.file), "    "))
	}
	goldentest.Compare(t, "dashboards.yaml", want.String())
	var resource struct {
		APIVersion string            `yaml:"apiVersion"`
		Kind       string            `yaml:"kind"`
		Metadata   metadata          `yaml:"metadata"`
		Data       map[string]string `yaml:"data"`
	}
	decode(t, "dashboards.yaml", &resource)
	for _, d := range dashboards(t) {
		if resource.Data["rds-csi-"+filepath.Base(d.file)] != read(t, d.file) {
			t.Errorf("%s does not come out of the ConfigMap as it went in", d.file)
		}
	}
	if asJSON, err := json.Marshal(resource); err != nil || len(asJSON) > annotationLimit {
		t.Errorf("kubectl apply would refuse %d bytes: %v", len(asJSON), err)
	}
}

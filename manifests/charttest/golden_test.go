package charttest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestLintIsStrict(t *testing.T) {
	for name, path := range valueSets(t) {
		out, errs, err := helm(t, "lint", "--strict", "--kube-version", kubernetes, chart, "--values", path)
		if err != nil || strings.Contains(out, "[WARNING]") {
			t.Errorf("%s: %v\n%s%s", name, err, out, errs)
		}
	}
}

// What the chart has from manifests/monitoring stands in the golden file as its name, after it was compared.
func TestRenderedManifests(t *testing.T) {
	for name, path := range valueSets(t) {
		text := render(t, "--values", path)
		for _, file := range copies(t) {
			content := indent(read(t, filepath.Join(chart, "files", file)), map[string]string{"rules.yaml": "  "}[file])
			text = strings.ReplaceAll(text, content, "  <"+file+">\n")
		}
		golden(t, filepath.Join("testdata/golden", name+".yaml"), text)
	}
}

// copies are the files that the chart has from manifests/monitoring: Helm reads nothing outside of a chart, and follows
// a symlink only with a warning.
func copies(t *testing.T) []string {
	t.Helper()
	dashboards, err := filepath.Glob("../monitoring/dashboards/*.json")
	if err != nil || len(dashboards) < 4 {
		t.Fatalf("found %v: %v", dashboards, err)
	}
	files := []string{"rules.yaml", "servicemonitor.yaml", "podmonitor.yaml"}
	for _, path := range dashboards {
		files = append(files, "dashboards/"+filepath.Base(path))
	}
	return files
}

func TestTheChartsCopiesAreThoseOfMonitoring(t *testing.T) {
	want := map[string]bool{}
	for _, file := range copies(t) {
		want[file] = true
		golden(t, filepath.Join(chart, "files", file), read(t, filepath.Join("../monitoring", file)))
	}
	for _, pattern := range []string{"*.*", "dashboards/*"} {
		found, err := filepath.Glob(filepath.Join(chart, "files", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			if file, _ := filepath.Rel(filepath.Join(chart, "files"), path); !want[file] {
				t.Errorf("%s is not from manifests/monitoring", path)
			}
		}
	}
}

// indent moves every line to the right, empty ones too, as Helm's nindent does.
func indent(text, by string) string {
	if by == "" {
		by = "    "
	}
	var out strings.Builder
	for line := range strings.Lines(text) {
		out.WriteString(by + line)
	}
	return out.String()
}

const plainManifests = "../plain/rds-csi-driver.yaml"

// plainHead says what to do with the file. Pod Security: the node plugin is privileged.
const plainHead = `# Made from manifests/chart: UPDATE_GOLDEN=1 go test ./manifests/charttest
# For clusters without Helm. Replace 192.0.2.2 by your array's address; docs/guides/install.md has the command.
apiVersion: v1
kind: Namespace
metadata:
  name: rds-csi
  labels:
    pod-security.kubernetes.io/enforce: privileged
`

func TestPlainManifests(t *testing.T) {
	text := render(t, "--values", valueSets(t)["defaults"])
	ofHelm := regexp.MustCompile(`(?m)^( *(app\.kubernetes\.io/managed-by|helm\.sh/chart): .*|# Source: .*)\n`)
	text = plainHead + ofHelm.ReplaceAllString(text, "")
	if strings.Contains(strings.ToLower(strings.TrimPrefix(text, plainHead)), "helm") {
		t.Error("Helm is still named in the plain manifests")
	}
	golden(t, plainManifests, text)
	o := decode(t, read(t, plainManifests))
	if len(o.namespaces) != 1 || o.namespaces[0].Name != o.deployments[0].Namespace {
		t.Errorf("the namespace is %v, the controller's is %s", o.namespaces, o.deployments[0].Namespace)
	}
	if count := strings.Count(text, "192.0.2.2"); count != 2 {
		t.Errorf("the address is there %d times, want in the head and as --rds-address", count)
	}
}

// Nothing of anybody's own network may be a default.
func TestTheChartHasNoAddresses(t *testing.T) {
	address := regexp.MustCompile(`\b\d{1,3}(\.\d{1,3}){3}\b`)
	err := filepath.WalkDir(chart, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.Contains(path, "/files/") {
			return err
		}
		if found := address.FindString(read(t, path)); found != "" {
			t.Errorf("%s has the address %s", path, found)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestNotesNameWhatIsThere(t *testing.T) {
	out, errs, err := helm(t, "install", release, chart, "--namespace", namespace, "--dry-run=client", "--values", valueSets(t)["dev"])
	if err != nil {
		t.Fatalf("%v\n%s", err, errs)
	}
	_, notes, _ := strings.Cut(out, "\nNOTES:\n")
	o := decode(t, render(t, "--values", valueSets(t)["dev"]))
	for _, want := range []string{
		"deploy/" + o.deployments[0].Name + " -c driver", "storageClassName: " + o.classes[0].Name, "create secret generic rds-csi-array",
		"app.kubernetes.io/instance=" + o.node(t).Labels["app.kubernetes.io/instance"], "dev.loopDir is set", "array.hostACL is off",
	} {
		if !strings.Contains(notes, want) {
			t.Errorf("the notes do not say %q:\n%s", want, notes)
		}
	}
}

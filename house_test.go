// Package house_test checks the shape of the whole module: who may import whom.
package house_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "git.srvlab.io/whiskey/rds-csi-driver/"

// arrows lists what each package may import of this module (design: two seams, everything else
// is translation). A package that is not listed fails the test: say where it stands.
func arrows() map[string][]string {
	return map[string][]string{
		"cmd/rds-csi-plugin": {"pkg/check", "pkg/driver", "pkg/host", "pkg/kube", "pkg/mount", "pkg/nvme", "pkg/rds", "pkg/rdssim", "pkg/reconcile", "pkg/routeros", "pkg/stage", "telemetry", "telemetry/export"},
		"cmd/rds-image":      {},
		"cmd/rds-sim":        {"pkg/rdssim"},
		// Judges what array and node answer: as the driver's cmd it looks at both sides, but acts through their packages.
		"pkg/check":           {"pkg/fault", "pkg/host", "pkg/nvme", "pkg/rds", "pkg/routeros", "telemetry"},
		"pkg/driver":          {"pkg/fault", "pkg/host", "pkg/mount", "pkg/nvme", "pkg/rds", "pkg/stage", "telemetry"},
		"pkg/e2e/program":     {},
		"pkg/fault":           {},
		"pkg/fault/faulttest": {"pkg/fault"},
		"pkg/goldentest":      {},
		"pkg/host":            {"pkg/fault", "telemetry"},
		"pkg/kube":            {"pkg/fault", "pkg/stage", "telemetry"},
		"pkg/kube/kubetest":   {},
		"pkg/mount":           {"pkg/fault", "pkg/host", "telemetry"},
		"pkg/mount/mounttest": {"pkg/fault", "pkg/host", "pkg/mount", "telemetry"},
		"pkg/nvme":            {"pkg/fault", "pkg/host", "telemetry"},
		"pkg/nvme/nvmetest":   {"pkg/fault", "pkg/host", "pkg/nvme", "telemetry"},
		"pkg/rds":             {"pkg/fault", "pkg/routeros", "telemetry"},
		"pkg/rdssim":          {"pkg/rdssim/script"},
		"pkg/rdssim/script":   {},
		"pkg/reconcile":       {"pkg/driver", "pkg/fault", "pkg/host", "pkg/nvme", "pkg/rds", "pkg/stage", "telemetry"},
		"pkg/routeros":        {"pkg/fault", "telemetry"},
		"pkg/stage":           {"pkg/fault", "pkg/host"},
		"telemetry":           {"pkg/fault"},
		"telemetry/otlptest":  {},
		"telemetry/export":    {"pkg/fault", "telemetry"},
	}
}

// keepers lists the only places that may import a library (a prefix), beside tests.
func keepers() map[string][]string {
	return map[string][]string{
		"os/exec": {"pkg/host/", "pkg/e2e/program/", "cmd/rds-image/"},
		"github.com/container-storage-interface/spec": {"pkg/driver/", "cmd/rds-csi-plugin/demo"},
		"google.golang.org/grpc/codes":                {"pkg/driver/", "cmd/rds-csi-plugin/demo"},
		"google.golang.org/grpc/status":               {"pkg/driver/", "cmd/rds-csi-plugin/demo"},
		"github.com/kubernetes-csi/csi-lib-utils":     {"pkg/driver/"},
		"go.opentelemetry.io/":                        {"telemetry/"},
		"go.opentelemetry.io/otel/sdk":                {"telemetry/export/"},
		"go.opentelemetry.io/contrib/exporters":       {"telemetry/export/"},
		"github.com/prometheus/client_golang":         {"telemetry/export/"},
		"golang.org/x/crypto/ssh":                     {"pkg/routeros/", "pkg/rdssim/"},
		"github.com/google/go-containerregistry":      {"cmd/rds-image/"},
		"github.com/moby/sys/mount":                   {"pkg/host/"},
		"github.com/godbus/dbus":                      {"pkg/host/"},
		"k8s.io/":                                     {"pkg/kube/"},
		"log":                                         {},
		"testing":                                     {"pkg/nvme/nvmetest/", "pkg/mount/mounttest/", "pkg/kube/kubetest/", "pkg/e2e/program/", "pkg/goldentest/", "telemetry/otlptest/"},
	}
}

type file struct {
	path    string // with slashes, below the module's root
	imports []string
}

func (f file) pkg() string { return path.Dir(f.path) }

// sources are all Go files of the module that are not tests.
func sources(t *testing.T) []file {
	t.Helper()
	var files []file
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (name != "." && strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		f := file{path: filepath.ToSlash(name)}
		for _, spec := range parsed.Imports {
			target, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			f.imports = append(f.imports, target)
		}
		files = append(files, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 50 {
		t.Fatalf("only %d files were found: the walk is broken", len(files))
	}
	return files
}

func TestPackagesImportOnlyWhatTheyMay(t *testing.T) {
	allowed := arrows()
	for _, f := range sources(t) {
		may, listed := allowed[f.pkg()]
		if !listed {
			t.Errorf("%s: package %s has no place in arrows()", f.path, f.pkg())
			continue
		}
		for _, target := range f.imports {
			inside, ok := strings.CutPrefix(target, module)
			if ok && !slices.Contains(may, inside) {
				t.Errorf("%s imports %s", f.path, inside)
			}
		}
	}
}

func TestLibrariesStayWithTheirKeepers(t *testing.T) {
	rules := keepers()
	for _, f := range sources(t) {
		for _, target := range f.imports {
			for library, places := range rules {
				if !matches(target, library) || slices.ContainsFunc(places, func(place string) bool { return strings.HasPrefix(f.path, place) }) {
					continue
				}
				t.Errorf("%s imports %s, which only %v may", f.path, target, places)
			}
		}
	}
}

func matches(target, library string) bool {
	return target == library || strings.HasPrefix(target, strings.TrimSuffix(library, "/")+"/")
}

package charttest

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// sidecarModules are the sidecars that can be had as Go modules, by their container's name. (node-driver-registrar cannot.)
func sidecarModules() map[string]string {
	return map[string]string{
		"provisioner": "github.com/kubernetes-csi/external-provisioner/v6",
		"attacher":    "github.com/kubernetes-csi/external-attacher/v4",
		"resizer":     "github.com/kubernetes-csi/external-resizer/v2",
	}
}

// sources is where the module's source is, of that very version.
func sources(t *testing.T, module, version string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", module+"@"+version)
	cmd.Dir = t.TempDir() // outside of this module, which needs none of them
	out, err := cmd.Output()
	var info struct{ Dir string }
	if json.Unmarshal(out, &info) != nil || info.Dir == "" {
		t.Fatalf("%s %s: %v\n%s", module, version, err, out)
	}
	return info.Dir
}

// sidecarSource is the source of a sidecar in the version that its image has in the pod.
func sidecarSource(t *testing.T, o objects, name string) string {
	t.Helper()
	_, version, _ := strings.Cut(container(t, o.controller(t), name).Image, ":")
	return sources(t, sidecarModules()[name], version)
}

func goText(t *testing.T, dir string) string {
	t.Helper()
	var text strings.Builder
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") {
			text.WriteString(read(t, path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// The flags of a sidecar are in its own source or in that of the library that all of them share.
func TestTheSidecarsKnowTheirFlags(t *testing.T) {
	o := decode(t, render(t, "--values", valueSets(t)["defaults"]))
	library := regexp.MustCompile(`github\.com/kubernetes-csi/csi-lib-utils (v\S+)`)
	for name := range sidecarModules() {
		dir := sidecarSource(t, o, name)
		m := library.FindStringSubmatch(read(t, filepath.Join(dir, "go.mod")))
		if m == nil {
			t.Fatalf("%s does not say which csi-lib-utils it has", dir)
		}
		text := goText(t, filepath.Join(dir, "cmd")) + goText(t, filepath.Join(sources(t, "github.com/kubernetes-csi/csi-lib-utils", m[1]), "standardflags"))
		for _, arg := range container(t, o.controller(t), name).Args {
			flag, _, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
			if flag != "v" && !strings.Contains(text, fmt.Sprintf("%q", flag)) { // v is klog's
				t.Errorf("%s has no flag --%s", filepath.Base(dir), flag)
			}
		}
	}
}

// upstreamRights are what the sidecars' own manifests ask for in that version.
func upstreamRights(t *testing.T, o objects) (rights []string) {
	t.Helper()
	for name := range sidecarModules() {
		text := read(t, filepath.Join(sidecarSource(t, o, name), "deploy/kubernetes/rbac.yaml"))
		var theirs objects
		for _, object := range separator.Split(text, -1) {
			kind, version := typeOf.FindStringSubmatch(object), apiVersion.FindStringSubmatch(object)
			if kind != nil && version != nil {
				theirs.add(t, version[1]+" "+kind[1], object)
			}
		}
		for _, role := range theirs.clusterWide {
			rights = append(rights, expand("cluster", role.Rules)...)
		}
		for _, role := range theirs.roles {
			rights = append(rights, expand("namespace", role.Rules)...)
		}
	}
	slices.Sort(rights)
	return slices.Compact(rights)
}

package charttest

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

var (
	yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")
	helmLine  = regexp.MustCompile(`(?m)^helm (?:install|upgrade) (\S+) manifests/chart (.*)$`)
	sedLine   = regexp.MustCompile(`(?m)^sed 's/([^/]+)/[^']*' manifests/plain/(\S+) `)
	secret    = regexp.MustCompile(`create secret generic (\S+) --from-file=(\S+?)=\S+ --from-literal=(\S+?)=`)
)

func pages(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("../../docs/guides/*.md")
	if err != nil || len(paths) < 8 {
		t.Fatalf("found %v: %v", paths, err)
	}
	texts := map[string]string{}
	for _, path := range append(paths, "../../README.md") {
		texts[path] = read(t, path)
	}
	return texts
}

// The manifests in the guides are what Kubernetes takes, and fit the chart's defaults.
func TestManifestsInTheGuides(t *testing.T) {
	class := decode(t, render(t, "--values", valueSets(t)["defaults"])).classes[0].Name
	claims, pods := 0, 0
	for path, text := range pages(t) {
		for _, block := range yamlBlock.FindAllStringSubmatch(text, -1) {
			for _, object := range separator.Split(block[1], -1) {
				switch kind := typeOf.FindStringSubmatch(object); kind[1] {
				case "PersistentVolumeClaim":
					claims++
					if claim := strict[corev1.PersistentVolumeClaim](t, object); *claim.Spec.StorageClassName != class {
						t.Errorf("%s: the claim %s asks for class %s", path, claim.Name, *claim.Spec.StorageClassName)
					}
				case "Pod":
					pods++
					strict[corev1.Pod](t, object)
				default:
					t.Errorf("%s has a %s, which is not looked at", path, kind[1])
				}
			}
		}
	}
	if claims < 2 || pods < 1 {
		t.Errorf("%d claims and %d pods were found", claims, pods)
	}
}

// The commands that install are ones that Helm takes, for a Secret that the chart asks for.
func TestCommandsInTheGuides(t *testing.T) {
	o := decode(t, render(t, "--values", valueSets(t)["defaults"]))
	found := 0
	for path, text := range pages(t) {
		for _, m := range helmLine.FindAllStringSubmatch(text, -1) {
			found++
			args := strings.Fields(strings.ReplaceAll(m[2], "-f values.yaml", "-f testdata/values/defaults.yaml"))
			if _, errs, err := helm(t, append([]string{"template", m[1], chart, "--kube-version", kubernetes}, args...)...); err != nil {
				t.Errorf("%s: %s: %v\n%s", path, m[0], err, errs)
			}
			if m[1] != release || !slices.Contains(args, namespace) {
				t.Errorf("%s: another release or namespace than everywhere: %s", path, m[0])
			}
		}
		for _, m := range secret.FindAllStringSubmatch(text, -1) {
			wantSecret(t, path, o, m[1], m[2], m[3])
		}
		for _, m := range sedLine.FindAllStringSubmatch(text, -1) {
			found++
			plain := read(t, filepath.Join("../plain", m[2]))
			if changed := regexp.MustCompile(m[1]).ReplaceAllString(plain, "ARRAY"); !strings.Contains(changed, "--rds-address=ARRAY\"\n") {
				t.Errorf("%s: %s does not set the address", path, m[0])
			}
		}
		for _, name := range regexp.MustCompile(`(?:deployment|daemonset)/(rds\S+)`).FindAllStringSubmatch(text, -1) {
			if name[1] != o.deployments[0].Name && name[1] != o.daemonSets[0].Name {
				t.Errorf("%s speaks of %s, which the chart does not make", path, name[0])
			}
		}
	}
	if found < 4 {
		t.Errorf("only %d commands were found", found)
	}
}

// wantSecret tells whether the chart asks for that Secret with these keys.
func wantSecret(t *testing.T, path string, o objects, name, keyFile, hostKey string) {
	t.Helper()
	pod := o.controller(t)
	file := slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		return v.Secret != nil && v.Secret.SecretName == name && v.Secret.Items[0].Key == keyFile
	})
	literal := slices.ContainsFunc(container(t, pod, "driver").Env, func(e corev1.EnvVar) bool {
		return e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil && e.ValueFrom.SecretKeyRef.Name == name && e.ValueFrom.SecretKeyRef.Key == hostKey
	})
	if !file || !literal {
		t.Errorf("%s makes the Secret %s with %s and %s, which the chart does not ask for", path, name, keyFile, hostKey)
	}
}

// A value that a page names is one that the chart has.
func TestValuesInTheDocs(t *testing.T) {
	reference := read(t, referencePage)
	named := regexp.MustCompile("`((?:array|driver|image|controller|node|sidecars|networkPolicy|metrics|monitoring|telemetry|dev)\\.[A-Za-z.]+)(?:=[^`]*|: [^`]*)?`")
	found := 0
	texts := pages(t)
	texts["../../docs/reference/limits.md"] = read(t, "../../docs/reference/limits.md")
	for path, text := range texts {
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			found++
			if m[1] == "driver.log" { // a file, in "run by hand"
				continue
			}
			if !strings.Contains(reference, "\n| `"+m[1]+"` |") {
				t.Errorf("%s names the value %s, which the chart has not", path, m[1])
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d values were found", found)
	}
}

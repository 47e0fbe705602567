package k8s

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// dryRun has the API server judge what the chart makes of each set of values, and the plain manifests: it knows
// every field and every rule, and refuses what it does not know. The monitors' kinds are the operator's, so they are
// told to it first, without their fields.
func (s *suite) dryRun(t *testing.T) {
	run(t, monitoringKinds(), built("kubectl"), "apply", "--filename=-")
	for _, kind := range []string{"servicemonitors", "podmonitors", "prometheusrules"} {
		waitFor(t, "crd/"+kind+".monitoring.coreos.com", "condition=Established")
	}
	files, err := filepath.Glob("../../../manifests/charttest/testdata/values/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d sets of values: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			judged(t, run(t, "", built("helm"), "template", "dry", chartDir, "--namespace="+namespace, "--values="+file))
		})
	}
	t.Run("plain", func(t *testing.T) {
		text, err := os.ReadFile("../../../manifests/plain/rds-csi-driver.yaml")
		if err != nil {
			t.Fatal(err)
		}
		judged(t, string(text))
	})
}

func judged(t *testing.T, manifests string) {
	t.Helper()
	out := run(t, manifests, built("kubectl"), "apply", "--dry-run=server", "--validate=strict", "--namespace="+namespace, "--filename=-")
	if n := strings.Count(out, "(server dry run)"); n < 10 {
		t.Errorf("only %d objects were judged:\n%s", n, out)
	}
}

func monitoringKinds() string {
	var all strings.Builder
	for _, kind := range []string{"ServiceMonitor", "PodMonitor", "PrometheusRule"} {
		all.WriteString(strings.NewReplacer("KIND", kind, "LOWER", strings.ToLower(kind)).Replace(`---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: LOWERs.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  scope: Namespaced
  names: {kind: KIND, plural: LOWERs, singular: LOWER}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`))
	}
	return all.String()
}

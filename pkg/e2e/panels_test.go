package e2e

import (
	"maps"
	"path/filepath"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
)

// withoutData are the panels that can show nothing here, and why.
func withoutData() map[string]string {
	const (
		kubernetes = "needs the sidecars and kubelets of a cluster"
		events     = "needs an API server"
		later      = "the driver does not do that yet"
	)
	return map[string]string{
		"kubernetes.json: Calls by gRPC code":                                        kubernetes,
		"kubernetes.json: Duration of calls, as the sidecars see it":                 kubernetes,
		"kubernetes.json: CSI calls by gRPC code":                                    kubernetes,
		"kubernetes.json: Duration of CSI calls, as the kubelet sees it":             kubernetes,
		"kubernetes.json: Storage operations by status":                              kubernetes,
		"kubernetes.json: Duration of storage operations":                            kubernetes,
		"kubernetes.json: Fullest volumes":                                           kubernetes,
		"kubernetes.json: Volumes with the fewest inodes left":                       kubernetes,
		"control-plane.json: Kubernetes events posted":                               events,
		"control-plane.json: Removed by the driver because nobody had them any more": later,
	}
}

// queriesOfPanels gives the panel, as "file: title", by each of its queries.
func queriesOfPanels(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(monitoring, "dashboards/*.json"))
	if err != nil || len(files) < 4 {
		t.Fatalf("found %v: %v", files, err)
	}
	panels := map[string]string{}
	for _, file := range files {
		for title, queries := range panelQueries(t, file) {
			for _, query := range queries {
				panels[query] = filepath.Base(file) + ": " + title
			}
		}
	}
	return panels
}

// awaitPanels wants every query of every panel to give data at some moment, but for those that cannot.
func (p *prometheus) awaitPanels(t *testing.T) {
	t.Helper()
	missing := queriesOfPanels(t)
	maps.DeleteFunc(missing, func(query, panel string) bool {
		_, cannot := withoutData()[panel]
		if cannot && p.query(t, query) > 0 {
			t.Errorf("%s has data after all", panel)
		}
		return cannot
	})
	for deadline := time.Now().Add(program.Patience); len(missing) > 0; time.Sleep(500 * time.Millisecond) {
		maps.DeleteFunc(missing, func(query, _ string) bool { return p.query(t, query) > 0 })
		if time.Now().After(deadline) {
			t.Fatalf("panels without data: %v", missing)
		}
	}
}

package kube

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/kube/kubetest"
)

type object = map[string]any

const (
	nodePath, csiNodePath = "/api/v1/nodes/node-a", "/apis/storage.k8s.io/v1/csinodes/node-a"
	startup               = "rds.csi.srvlab.io/agent-not-ready"
)

func taintedNode(taints ...object) object {
	return object{"apiVersion": "v1", "kind": "Node", "metadata": object{"name": "node-a", "resourceVersion": "7"}, "spec": object{"taints": taints}}
}

func csiNode(drivers ...string) object {
	var list []object
	for _, name := range drivers {
		list = append(list, object{"name": name, "nodeID": "x", "topologyKeys": []string{}})
	}
	return object{"apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": object{"name": "node-a"}, "spec": object{"drivers": list}}
}

func taint(key, effect string) object { return object{"key": key, "effect": effect} }

// patches are the bodies of the patches of the Node.
func patches(s *kubetest.Server) []string {
	var all []string
	for _, r := range s.Seen() {
		if r.Method == http.MethodPatch {
			all = append(all, r.Body)
		}
	}
	return all
}

func startupTaint(t *testing.T, s *kubetest.Server) *StartupTaint {
	return NewStartupTaint(open(t, s), Registration{Node: "node-a", Driver: "rds.csi.srvlab.io", NodeID: "x"}, startup, zap.NewNop())
}

func TestTheStartupTaintGoesWhenTheDriverIsRegistered(t *testing.T) {
	s := kubetest.Start(t)
	s.Put(nodePath, taintedNode(taint(startup, "NoSchedule"), taint("other", "NoExecute"), taint(startup, "NoExecute")))
	s.Put(csiNodePath, csiNode("another.driver"))
	done := make(chan struct{})
	go func() { defer close(done); startupTaint(t, s).Run(t.Context()) }()
	for deadline := time.Now().Add(10 * time.Second); len(s.Seen()) == 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
	}
	if len(patches(s)) != 0 {
		t.Errorf("the taint went before the driver was registered")
	}
	s.Put(csiNodePath, csiNode("another.driver", "rds.csi.srvlab.io"))
	<-done
	var patch struct {
		Metadata struct{ ResourceVersion string }
		Spec     struct{ Taints []object }
	}
	all := patches(s)
	if len(all) != 1 || json.Unmarshal([]byte(all[0]), &patch) != nil {
		t.Fatalf("patches %q", all)
	}
	if patch.Metadata.ResourceVersion != "7" || len(patch.Spec.Taints) != 1 || patch.Spec.Taints[0]["key"] != "other" || patch.Spec.Taints[0]["effect"] != "NoExecute" {
		t.Errorf("patch %s", all[0])
	}
}

func TestWhatKeepsTheStartupTaint(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(s *kubetest.Server)
		done   bool
		fails  bool
	}{
		"not there":      {func(s *kubetest.Server) { s.Put(nodePath, taintedNode(taint("other", "NoSchedule"))) }, true, false},
		"not registered": {func(s *kubetest.Server) { s.Put(csiNodePath, csiNode()) }, false, false},
		"of an earlier registration": {func(s *kubetest.Server) {
			node := csiNode("rds.csi.srvlab.io")
			node["spec"].(object)["drivers"].([]object)[0]["nodeID"] = "y"
			s.Put(csiNodePath, node)
		}, false, false},
		"no CSINode yet":     {func(s *kubetest.Server) { s.Remove(csiNodePath) }, false, true},
		"may not see it":     {func(s *kubetest.Server) { s.Answer(csiNodePath, kubetest.Forbidden) }, false, true},
		"may not see itself": {func(s *kubetest.Server) { s.Answer(nodePath, kubetest.Forbidden) }, false, true},
		"changed meanwhile": {func(s *kubetest.Server) {
			s.Answer(nodePath, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPatch {
					http.Error(w, "conflict", http.StatusConflict)
					return
				}
				kubetest.WriteJSON(w, http.StatusOK, taintedNode(taint(startup, "NoSchedule")))
			})
		}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := kubetest.Start(t)
			s.Put(nodePath, taintedNode(taint(startup, "NoSchedule")))
			s.Put(csiNodePath, csiNode("rds.csi.srvlab.io"))
			tt.change(s)
			done, err := startupTaint(t, s).try(t.Context())
			if done != tt.done || (err != nil) != tt.fails {
				t.Errorf("done %t, %v", done, err)
			}
		})
	}
}

func TestTheStartupTaintIsLeftWhenTheProcessEnds(t *testing.T) {
	s := kubetest.Start(t)
	s.Answer(csiNodePath, kubetest.Hang(t))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	startupTaint(t, s).Run(ctx)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it ended after %s", took)
	}
}

// A node that waits for a person for longer than that is helped when he comes, and does not fill the log.
func TestTheStartupTaintIsTriedUntilItIsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		began := time.Now()
		NewStartupTaint(nil, Registration{}, startup, zap.New(core)).repeat(t.Context(), func(context.Context) (bool, error) {
			return time.Since(began) > 10*taintPatience, errors.New("not yet")
		})
		if took := time.Since(began); took < 10*taintPatience {
			t.Errorf("it ended after %s", took)
		}
		if logs.Len() != 1 {
			t.Errorf("%d log lines, want 1", logs.Len())
		}
	})
}

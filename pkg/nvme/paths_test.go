package nvme_test

import (
	"path/filepath"
	"slices"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme/nvmetest"
)

// Linux 6.16: the kernel gave the controller up, the head lives on; NodeUnstage comes within the minute.
func TestHeadStaysAfterDisconnect(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true, DelayedRemoval: true})
	r.target.Fenced = true
	d := r.connect(t)
	r.Drop(d.Controller)
	if err := r.disconnect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w := r.Writes(); !slices.Contains(w, filepath.Base(d.Path)+"/delayed_removal_secs=0") {
		t.Errorf("writes %q: the head is kept, and its UUID refused under the next NQN", w)
	}
}

// A portal that stays away is said each time the loop asks for it.
func TestMissingPathLog(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	r := newRig(t, nvmetest.Options{Multipath: true}, func(c *nvme.Config) { c.Log = zap.New(core) })
	second := r.AddPortal()
	r.Silence(second)
	r.target.Portals = append(r.target.Portals, second)
	for range 5 { // minutes
		r.connect(t)
	}
	if n := logs.FilterMessageSnippet("a further path").Len(); n > 1 {
		t.Errorf("%d lines in 5 minutes for one volume", n)
	}
}

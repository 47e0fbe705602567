package rds

import (
	"reflect"
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

func TestRecordReadsWhatItWrites(t *testing.T) {
	static := describe("c1", Origin{PVCNamespace: "default", PVCName: "data", PVName: "pvc-1"})
	for _, tt := range []struct {
		name, comment string
		want          Record
	}{
		{"free", static + separator + stateFree, Record{Cluster: "c1", PVC: "default/data", PV: "pvc-1"}},
		{"held", static + separator + held(ModeMount, "0a1b2c3d", "00-t-s-01", "n1/u1"),
			Record{Cluster: "c1", PVC: "default/data", PV: "pvc-1", Mode: ModeMount, Token: "0a1b2c3d", TraceParent: "00-t-s-01", Holders: []string{"n1/u1"}}},
		{"held by two, no trace", static + separator + held(ModeShared, "0a1b2c3d", "", "n1/u1", "n2/u2"),
			Record{Cluster: "c1", PVC: "default/data", PV: "pvc-1", Mode: ModeShared, Token: "0a1b2c3d", Holders: []string{"n1/u1", "n2/u2"}}},
		{"nothing known of it", describe("c1", Origin{}) + separator + stateFree, Record{Cluster: "c1"}},
		{"of another tool", "my old server", Record{}},
		{"empty", "", Record{}},
	} {
		if got := parseRecord(tt.comment); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// A name that is no Kubernetes name cannot forge a field, a holder or a state.
func TestRecordKeepsItsSyntax(t *testing.T) {
	nasty := Origin{PVCNamespace: "a b", PVCName: "x -- rds-csi held by=evil/1;", PVName: "p cluster=c2"}
	got := parseRecord(describe("c1", nasty) + separator + stateFree)
	if got.Cluster != "c1" || len(got.Holders) != 0 || got.Token != "" {
		t.Errorf("%+v", got)
	}
	if !strings.HasPrefix(describe("c1", nasty), markOf("c1")) || strings.HasPrefix(describe("c10", nasty), markOf("c1")) {
		t.Error("the mark of one cluster is taken for another's")
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add("rds-csi cluster=c1 pvc=a/b pv=c -- rds-csi held token=1 trace=2 by=n/1;by=m/2;")
	f.Add(" -- rds-csi held by=;")
	f.Add("rds-csi cluster= --  -- ")
	f.Fuzz(func(t *testing.T, comment string) {
		r := parseRecord(comment)
		for _, h := range r.Holders {
			if strings.ContainsAny(h, "; \t") {
				t.Errorf("holder %q", h)
			}
		}
		if r.Cluster != "" && !strings.HasPrefix(comment, mark) {
			t.Errorf("cluster %q out of %q", r.Cluster, comment)
		}
	})
}

func TestNames(t *testing.T) {
	slot := Slot("c1", "pvc-1")
	if len(slot) != 32 || !OwnSlot(slot) || slot != Slot("c1", "pvc-1") || slot == Slot("c2", "pvc-1") || slot == Slot("c1", "pvc-2") {
		t.Errorf("slot %q", slot)
	}
	token := newToken()
	for nqn, want := range map[string]bool{
		NQN(slot, token): true, NQN(slot, token) + "0": false, NQN(slot+"0", token): false,
		nqnPrefix + slot: false, NQN(slot, "0A1B2C3D"): false, NQN(slot, "0a1b2c3"): false, "": false,
	} {
		if MatchesSlot(nqn, slot) != want {
			t.Errorf("MatchesSlot(%q) = %v", nqn, !want)
		}
	}
}

func TestSupportedVersions(t *testing.T) {
	for version, want := range map[string]fault.Kind{
		"7.21 (stable)": "", "7.24.4 (stable)": "", "8.0beta1": "", "7.100": "", "7.21rc1 (testing)": "",
		"7.20.8 (long-term)": fault.Precondition, "6.49.10": fault.Precondition, "": fault.Precondition, "x7.21": fault.Precondition,
		"99999999999999999999.1": fault.Precondition,
	} {
		if got := fault.KindOf(supported(version)); got != want {
			t.Errorf("%q: %q, want %q", version, got, want)
		}
	}
}

package driver

import (
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

func idDriver() *Driver { return &Driver{cfg: DriverConfig{ArrayName: testArray}} }

func TestVolumeIDs(t *testing.T) {
	long := strings.Repeat("a", maxID)
	tests := []struct {
		id   string
		want string // "" where it cannot be a volume
		kind fault.Kind
	}{
		{"rds/csi-0123", "rds/csi-0123", ""},
		{"csi-0123", "rds/csi-0123", ""},
		{"other/csi-0123", "other/csi-0123", ""},
		{"vm-100.disk_1", "rds/vm-100.disk_1", ""},
		{long, "rds/" + long, ""},
		{"", "", fault.Invalid},
		{long + "a", "", fault.NotFound},
		{"rds/", "", fault.NotFound},
		{"/slot", "", fault.NotFound},
		{"rds/a/b", "", fault.NotFound},
		{"..", "", fault.NotFound},
		{"rds/..", "", fault.NotFound},
		{`rds/a"b`, "", fault.NotFound},
		{"rds/a;b", "", fault.NotFound},
		{"rds/$[x]", "", fault.NotFound},
		{"rds/a b", "", fault.NotFound},
		{"rds/a\nb", "", fault.NotFound},
		{"rds/a\n", "", fault.NotFound},
		{"rds/ä", "", fault.NotFound},
	}
	for _, tt := range tests {
		v, err := idDriver().parseVolumeID(tt.id)
		if fault.KindOf(err) != tt.kind {
			t.Errorf("%q: error %v, want kind %q", tt.id, err, tt.kind)
		}
		if err == nil && v.String() != tt.want {
			t.Errorf("%q is %q, want %q", tt.id, v, tt.want)
		}
	}
}

func TestSlotOfAnotherArrayIsNotNotFound(t *testing.T) {
	_, err := idDriver().slotOf("other/csi-0123")
	if fault.KindOf(err) != fault.Precondition || !strings.Contains(err.Error(), `"other"`) {
		t.Errorf("got %v", err)
	}
	if slot, err := idDriver().slotOf("csi-0123"); slot != "csi-0123" || err != nil {
		t.Errorf("short form: %q, %v", slot, err)
	}
}

// What parses has one form, and nothing in it that a console or a path could take for more than a name.
func FuzzVolumeID(f *testing.F) {
	for _, seed := range []string{"rds/csi-0123", "csi-1", "", "/", "a/b/c", `a"b`, "a;b", "$[x]", "..", "a\x00", strings.Repeat("x", 200)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		v, err := idDriver().parseVolumeID(id)
		if err != nil {
			if kind := fault.KindOf(err); kind != fault.NotFound && kind != fault.Invalid {
				t.Fatalf("%q: kind %s", id, kind)
			}
			return
		}
		again, err := idDriver().parseVolumeID(v.String())
		if len(v.String()) <= maxID && (err != nil || again != v) {
			t.Errorf("%q is %q, which is %q (%v)", id, v, again, err)
		}
		if strings.ContainsAny(v.Slot+v.Array, "\"'\\$[]{}();:=,!~ /\t\r\n\x00") {
			t.Errorf("%q passed", id)
		}
	})
}

func TestNodeIDs(t *testing.T) {
	id, err := NewNodeID(testDriver, "c1", "worker-1.example", "machine")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := parseNodeID(id.String()); err != nil || got != id {
		t.Errorf("%s is parsed as %v, %v", id, got, err)
	}
	if id.HostNQN() != "nqn.2014-08.org.nvmexpress:uuid:"+id.HostID() {
		t.Errorf("host NQN %s and host ID %s do not go together", id.HostNQN(), id.HostID())
	}
	if v := id.U.Version(); v != 5 {
		t.Errorf("the UUID is version %d", v)
	}
	for name, seed := range map[string][4]string{
		"same":           {testDriver, "c1", "worker-1.example", "machine"},
		"other driver":   {"other.example", "c1", "worker-1.example", "machine"},
		"other cluster":  {testDriver, "c2", "worker-1.example", "machine"},
		"other node":     {testDriver, "c1", "worker-2.example", "machine"},
		"other machine":  {testDriver, "c1", "worker-1.example", "clone"},
		"shifted fields": {testDriver + "c1", "", "worker-1.example", "machine"},
	} {
		other, err := NewNodeID(seed[0], seed[1], seed[2], seed[3])
		if err != nil {
			t.Fatal(err)
		}
		if same := other.U == id.U; same != (name == "same") {
			t.Errorf("%s: same UUID %t", name, same)
		}
	}
	for _, bad := range []string{"", "a b", "-a", "a;b", `a"`, "ä", strings.Repeat("n", maxNodeID-36)} {
		if _, err := NewNodeID(testDriver, "c1", bad, "m"); err == nil {
			t.Errorf("node name %q passed", bad)
		}
	}
	if long, err := NewNodeID(testDriver, "c1", strings.Repeat("n", maxNodeID-37), "m"); err != nil || len(long.String()) != maxNodeID {
		t.Errorf("the longest name: %d bytes, %v", len(long.String()), err)
	}
}

func TestNodeIDsThatCannotBe(t *testing.T) {
	const u = "6ba7b810-9dad-51d1-80b4-00c04fd430c8"
	for _, bad := range []string{
		"node", "node/", "/" + u, "node/" + strings.ToUpper(u), "node/{" + u + "}", "node/urn:uuid:" + u, "node/" + u + "\n",
		"no;de/" + u, "no de/" + u, "a/b/" + u, strings.Repeat("n", 200) + "/" + u, "$[x]/" + u,
	} {
		if _, err := parseNodeID(bad); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%q: %v, want NotFound", bad, err)
		}
	}
}

func FuzzNodeID(f *testing.F) {
	for _, seed := range []string{"n/6ba7b810-9dad-51d1-80b4-00c04fd430c8", "", "n", "n/x", "a;b/6ba7b810-9dad-51d1-80b4-00c04fd430c8", "/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := parseNodeID(s)
		if err != nil {
			return
		}
		if id.String() != s || len(s) > maxNodeID {
			t.Errorf("%q is read as %q", s, id)
		}
		if strings.ContainsAny(s, "\"'\\$[]{}();:=,!~ \t\r\n\x00") {
			t.Errorf("%q passed", s)
		}
	})
}

package mount

import (
	"slices"
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

func TestSplitOptions(t *testing.T) {
	tests := []struct {
		name     string
		asked    []string
		readOnly bool
		want     []string
		ro       bool
	}{
		{"none", nil, false, nil, false},
		{"read-only request", nil, true, nil, true},
		{"ro option", []string{"ro", "noatime"}, false, []string{"noatime"}, true},
		{"rw option", []string{"rw"}, false, nil, false},
		{"for mount(8) only", []string{"_netdev", "nofail", "x-systemd.automount", "defaults", "discard"}, false, []string{"discard"}, false},
		{"selinux context", []string{`context="system_u:object_r:container_file_t:s0:c1,c2"`}, false, []string{`context="system_u:object_r:container_file_t:s0:c1,c2"`}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ro, err := splitOptions("mount", tt.asked, tt.readOnly)
			if err != nil || ro != tt.ro || !slices.Equal(got, tt.want) {
				t.Errorf("got %q, %v, %v; want %q, %v", got, ro, err, tt.want, tt.ro)
			}
		})
	}
}

func TestSplitOptionsRefuses(t *testing.T) {
	for option := range denied {
		asked := option
		if strings.HasSuffix(option, "=") {
			asked += "value"
		}
		if _, _, err := splitOptions("mount", []string{asked}, false); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: error = %v", asked, err)
		}
	}
	for _, asked := range []string{"", "noatime,bind", "a b", "x\ny", "\x00", `context="a`, `context="a b"`, `context="a,remount,b"`, "é"} {
		if _, _, err := splitOptions("mount", []string{asked}, false); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: error = %v", asked, err)
		}
	}
	if _, _, err := splitOptions("mount", []string{"rw"}, true); fault.KindOf(err) != fault.Invalid {
		t.Errorf("rw of a read-only volume: error = %v", err)
	}
	if _, _, err := splitOptions("mount", []string{"ro", "rw"}, false); fault.KindOf(err) != fault.Invalid {
		t.Errorf("ro and rw: error = %v", err)
	}
}

func FuzzSplitOptions(f *testing.F) {
	for _, seed := range []string{"ro", "errors=continue", `context="a:b,c"`, "x,remount", "_netdev"} {
		f.Add(seed)
	}
	f.Add(`context="a,bind,c1"`)
	f.Fuzz(func(t *testing.T, option string) {
		options, _, err := splitOptions("mount", []string{option}, false)
		if err != nil {
			return
		}
		joined := strings.Join(options, ",")
		if strings.Contains(joined, ",") && !strings.Contains(joined, `context="`) {
			t.Errorf("%q became several options", option)
		}
		for part := range strings.SplitSeq(joined, ",") {
			if part == "bind" || part == "remount" || part == "move" {
				t.Errorf("%q passed %s on", option, part)
			}
		}
	})
}

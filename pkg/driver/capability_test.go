package driver

import (
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

func publishedFor() rds.Published {
	return rds.Published{Volume: rds.Volume{NQN: "nqn.2000-02.com.mikrotik:csi-1.00000001", Size: gib}}
}

// Every access mode of the spec, with a file system and with raw block.
func TestCapabilities(t *testing.T) {
	const (
		fsAndBlock = "both"
		blockOnly  = "block"
		never      = "never"
	)
	want := map[accessMode]string{
		csi.VolumeCapability_AccessMode_UNKNOWN:                   never,
		csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER:        fsAndBlock,
		csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY:   fsAndBlock,
		csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER: fsAndBlock,
		csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER:  fsAndBlock,
		csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY:    never,
		csi.VolumeCapability_AccessMode_MULTI_NODE_SINGLE_WRITER:  never,
		csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER:   blockOnly,
	}
	for number, name := range csi.VolumeCapability_AccessMode_Mode_name {
		mode := accessMode(number)
		t.Run(name, func(t *testing.T) {
			if _, listed := want[mode]; !listed {
				t.Fatal("the mode is new: decide on it")
			}
			for _, fs := range []string{"", "ext4", "xfs", "btrfs"} {
				wantAllowed(t, mounted(fs, mode), want[mode] == fsAndBlock)
			}
			wantAllowed(t, mounted("ntfs", mode), false)
			wantAllowed(t, mounted("ext4 -F", mode), false)
			wantAllowed(t, block(mode), want[mode] != never)
		})
	}
	wantAllowed(t, nil, false)
	wantAllowed(t, &csi.VolumeCapability{}, false)
	wantAllowed(t, &csi.VolumeCapability{AccessMode: block(nodeWriter).GetAccessMode()}, false)
	wantAllowed(t, &csi.VolumeCapability{AccessType: block(nodeWriter).GetAccessType()}, false)
}

func wantAllowed(t *testing.T, c *csi.VolumeCapability, want bool) {
	t.Helper()
	err := checkCapabilities([]*csi.VolumeCapability{c}, true)
	if (err == nil) != want || err != nil && fault.KindOf(err) != fault.Invalid {
		t.Errorf("%v: %v, allowed should be %t", c, err, want)
	}
}

func TestCapabilitiesTogether(t *testing.T) {
	good, bad := mounted("ext4", nodeWriter), mounted("ntfs", nodeWriter)
	if err := checkCapabilities(nil, true); fault.KindOf(err) != fault.Invalid {
		t.Errorf("none: %v", err)
	}
	if err := checkCapabilities([]*csi.VolumeCapability{good, block(nodeWriter)}, true); err != nil {
		t.Errorf("two good ones: %v", err)
	}
	if err := checkCapabilities([]*csi.VolumeCapability{good, bad}, true); fault.KindOf(err) != fault.Invalid {
		t.Errorf("one bad among them: %v", err)
	}
	if err := checkCapabilities([]*csi.VolumeCapability{block(sharedWriter)}, false); fault.KindOf(err) != fault.Invalid {
		t.Errorf("shared without an ACL: %v", err)
	}
}

func TestSizes(t *testing.T) {
	tests := []struct {
		required, limit int64
		want            rds.Size
		kind            fault.Kind
	}{
		{0, 0, rds.Size{Required: gib}, ""},
		{1, 0, rds.Size{Required: 1}, ""},
		{0, 2 * gib, rds.Size{Required: gib, Limit: 2 * gib}, ""},
		{0, gib / 2, rds.Size{Required: gib / 2, Limit: gib / 2}, ""},
		{0, gib/2 + 1, rds.Size{Required: gib / 2, Limit: gib/2 + 1}, ""},
		{0, 100, rds.Size{Required: 4096, Limit: 100}, ""}, // which the array's blocks make out of range
		{5, 5, rds.Size{Required: 5, Limit: 5}, ""},
		{5, 4, rds.Size{}, fault.Invalid},
		{-1, 0, rds.Size{}, fault.Invalid},
		{0, -1, rds.Size{}, fault.Invalid},
	}
	for _, tt := range tests {
		got, err := sizeOf(&csi.CapacityRange{RequiredBytes: tt.required, LimitBytes: tt.limit})
		if fault.KindOf(err) != tt.kind {
			t.Errorf("%d to %d: %v", tt.required, tt.limit, err)
		}
		if err == nil && orDefaultSize(got) != tt.want {
			t.Errorf("%d to %d: %+v, want %+v", tt.required, tt.limit, orDefaultSize(got), tt.want)
		}
	}
}

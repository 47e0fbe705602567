package mount

import (
	"slices"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

func TestSurveyLooksWhereFileSystemsLeaveTheirMarks(t *testing.T) {
	const size = 300 * gib
	looked := signatures(size)
	covers := func(off uint64) bool {
		return slices.ContainsFunc(looked, func(r region) bool { return r.off <= off && off < r.off+r.len })
	}
	marks := map[string]uint64{
		"mbr": 510, "gpt": 512, "ext4": 1024 + 0x38, "zfs and lvm": 256*kib - 1, "btrfs": 64*kib + 0x40, "end of the head": 2*mib - 1,
		"btrfs mirror 1": 64*mib + 0x40, "btrfs mirror 2": 256*gib + 0x40, "backup gpt": size - 512, "md raid 0.90": size - 64*kib, "start of the tail": size - mib,
		"ext4 4k group 1": 128 * mib, "ext4 4k group 3": 3 * 128 * mib, "ext4 4k group 49": 49 * 128 * mib, "ext4 4k group 2187": 2187 * 128 * mib,
		"ext4 1k group 1": 8193 * kib, "ext4 1k group 5": (5*8192 + 1) * kib, "ext4 2k group 7": 7 * 32 * mib, "ext4 64k group 1": 32 * gib,
	}
	for name, off := range marks {
		if !covers(off) {
			t.Errorf("%s: nobody looks at byte %d", name, off)
		}
	}
	if covers(201*mib) || len(looked) > 400 {
		t.Errorf("%d regions: that is no survey any more", len(looked))
	}
}

func TestSamplesAreEvenlySpread(t *testing.T) {
	const size = 100 * gib
	regions := samples(size)
	if len(regions) != 256 {
		t.Fatalf("%d samples", len(regions))
	}
	for i := 1; i < len(regions); i++ {
		if gap := regions[i].off - regions[i-1].off; gap != size/256 || regions[i].off%blockBytes != 0 {
			t.Fatalf("sample %d is %d behind the one before, at %d", i, gap, regions[i].off)
		}
	}
}

func TestSurveyStaysOnSmallDevices(t *testing.T) {
	for _, size := range []uint64{1, 511, 4096, 1 * mib, 2*mib + 1, 3 * mib, 64*mib + 100} {
		for _, r := range append(signatures(size), samples(size)...) {
			if r.len == 0 || r.off+r.len > size {
				t.Errorf("size %d: region at %d of %d bytes", size, r.off, r.len)
			}
		}
	}
}

// What is read past the page cache has to be whole blocks.
func TestSurveyLooksAtWholeBlocks(t *testing.T) {
	for _, size := range []uint64{4096, 3*mib + 512, 64*mib + 4096, 300 * gib} {
		for _, r := range split(surveyed(size)) {
			if r.Off%host.BlockAlign != 0 || r.Len%host.BlockAlign != 0 && uint64(r.Off+r.Len) != size || r.Len > int64(pieceBytes) || r.Len == 0 {
				t.Errorf("size %d: %+v", size, r)
			}
		}
	}
}

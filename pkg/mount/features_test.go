package mount

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

func TestMkfsArgumentsAreTheGolden(t *testing.T) {
	golden := map[string]string{
		"ext4": "-q -F -m0 -t ext4 -b 4096 -I 256 -E nodiscard,lazy_itable_init=1,lazy_journal_init=0 " +
			"-O none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum",
		"xfs":   "-q -K -b size=4096 -n ftype=1 -i sparse=1,nrext64=0 -m crc=1,finobt=1,rmapbt=0,reflink=1,bigtime=1,inobtcount=1",
		"btrfs": "-q -K -s 4096 -n 16384 -d single -m dup -O extref,skinny-metadata,no-holes -R free-space-tree",
	}
	for _, fsType := range FSTypes() {
		if got := strings.Join(MkfsArguments(fsType), " "); got != golden[fsType] {
			t.Errorf("mkfs.%s: what kernels can mount the result has changed:\n got %s\nwant %s", fsType, got, golden[fsType])
		}
	}
}

// features are where a superblock keeps its feature flags, and those of them that Linux 5.10 has
// (fs/ext4/ext4.h, fs/xfs/libxfs/xfs_format.h, include/uapi/linux/btrfs.h).
var features = map[string][]struct {
	name string
	off  int64
	want uint64
	read func([]byte) uint64
}{
	"ext4": {
		{"compat: journal, ext_attr, resize_inode, dir_index", 1024 + 0x5c, 0x3c, little32},
		{"incompat: filetype, extent, 64bit, flex_bg", 1024 + 0x60, 0x2c2, little32},
		{"ro_compat: sparse, large, huge, dir_nlink, extra_isize, metadata_csum", 1024 + 0x64, 0x46b, little32},
	},
	"xfs": {
		{"ro_compat: finobt, reflink, inobtcount", 212, 0xd, big32},
		{"incompat: ftype, sparse inodes, bigtime", 216, 0xb, big32},
	},
	"btrfs": {
		{"compat_ro: free space tree, valid", 64<<10 + 0xb4, 3, binary.LittleEndian.Uint64},
		{"incompat: mixed backref, extref, skinny, no holes", 64<<10 + 0xbc, 0x341, binary.LittleEndian.Uint64},
	},
}

func little32(b []byte) uint64 { return uint64(binary.LittleEndian.Uint32(b)) }
func big32(b []byte) uint64    { return uint64(binary.BigEndian.Uint32(b)) }

// The arguments are what we ask for, this is what the installed tools make of them.
func TestMkfsMakesNothingThatLinux510DoesNotKnow(t *testing.T) {
	m := New(Config{Tools: host.NewRunner(), Metrics: telemetry.Noop(), Log: zap.NewNop()})
	for _, fsType := range FSTypes() {
		t.Run(fsType, func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "disk.img")
			if err := os.WriteFile(image, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(image, 512<<20); err != nil {
				t.Fatal(err)
			}
			if err := m.mkfs(t.Context(), image, fsType); errors.Is(err, host.ErrNotInstalled) {
				t.Skipf("needs mkfs.%s: %v", fsType, err)
			} else if err != nil {
				t.Fatal(err)
			}
			file, err := os.Open(image)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			for _, feature := range features[fsType] {
				raw := make([]byte, 8)
				if _, err := file.ReadAt(raw, feature.off); err != nil {
					t.Fatal(err)
				}
				if got := feature.read(raw); got != feature.want {
					t.Errorf("%s: %#x, want %#x", feature.name, got, feature.want)
				}
			}
		})
	}
}

package mount

import (
	"encoding/binary"
	"strings"
	"testing"
)

func TestParseBlkid(t *testing.T) {
	tests := []struct {
		name, text string
		want       signature
	}{
		{"file system", "DEVNAME=/dev/nvme0n1\nUUID=1\nVERSION=1.0\nTYPE=ext4\nUSAGE=filesystem\n", signature{Type: "ext4"}},
		{"partition table", "DEVNAME=/dev/nvme0n1\nPTUUID=1\nPTTYPE=dos\n", signature{PartitionTable: "dos"}},
		{"both", "TYPE=xfs\nPTTYPE=gpt", signature{Type: "xfs", PartitionTable: "gpt"}},
		{"lvm", "TYPE=LVM2_member\n", signature{Type: "LVM2_member"}},
		{"a label that looks like a type", "LABEL=TYPE\\=xfs\nTYPE=ext4\n", signature{Type: "ext4"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := parseBlkid(tt.text); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// A blkid that ended with 0 found something, also when it is in a language of tomorrow.
func FuzzParseBlkid(f *testing.F) {
	f.Add("DEVNAME=/dev/nvme0n1\nTYPE=ext4\n")
	f.Add("PTTYPE=dos")
	f.Add("")
	f.Add("TYPE=\nPTTYPE=\n")
	f.Add("TYPE=ext4\x00\r\n=\n==")
	f.Fuzz(func(t *testing.T, text string) {
		s := parseBlkid(text)
		if s == (signature{}) || s.String() == "" {
			t.Errorf("%q is taken for blank", text)
		}
		if s == (signature{Type: "ext4"}) && !strings.Contains(text, "TYPE=ext4") {
			t.Errorf("%q is taken for ext4", text)
		}
	})
}

func ext4Superblock(blocks uint64, logBlock, incompat uint32) []byte {
	super := make([]byte, ext4SuperBytes)
	binary.LittleEndian.PutUint32(super[ext4BlocksLo:], uint32(blocks))
	binary.LittleEndian.PutUint32(super[ext4BlocksHi:], uint32(blocks>>32))
	binary.LittleEndian.PutUint32(super[ext4LogBlock:], logBlock)
	binary.LittleEndian.PutUint32(super[ext4Incompat:], incompat)
	binary.LittleEndian.PutUint16(super[ext4Magic:], ext4MagicValue)
	return super
}

func TestParseExt4Size(t *testing.T) {
	tests := []struct {
		name  string
		super []byte
		want  uint64 // 0: refused
	}{
		{"4k blocks", ext4Superblock(1000, 2, ext4Incompat64Bit), 4096000},
		{"1k blocks", ext4Superblock(1000, 0, 0), 1024000},
		{"beyond 32 bits", ext4Superblock(1<<32+1, 2, ext4Incompat64Bit), (1<<32 + 1) * 4096},
		{"high half without 64bit", ext4Superblock(7<<32+1, 2, 0), 4096},
		{"no superblock", make([]byte, ext4SuperBytes), 0},
		{"block size", ext4Superblock(1, 7, 0), 0},
		{"overflow", ext4Superblock(1<<63, 2, ext4Incompat64Bit), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseExt4Size(tt.super)
			if got != tt.want || (err != nil) != (tt.want == 0) {
				t.Errorf("got %d, %v; want %d", got, err, tt.want)
			}
		})
	}
}

func FuzzParseExt4Size(f *testing.F) {
	f.Add(ext4Superblock(1000, 2, ext4Incompat64Bit))
	f.Add(make([]byte, ext4SuperBytes))
	f.Fuzz(func(t *testing.T, super []byte) {
		if len(super) != ext4SuperBytes {
			t.Skip("a superblock is always read whole")
		}
		if size, err := parseExt4Size(super); err == nil && size%1024 != 0 {
			t.Errorf("size %d is no number of blocks", size)
		}
	})
}

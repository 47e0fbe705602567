package mount

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

const imageBytes = 512 * mib

// made is the head of an image that the installed mkfs made as the driver has it do.
func made(t testing.TB, fsType string) []byte {
	t.Helper()
	image := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, int64(imageBytes)); err != nil {
		t.Fatal(err)
	}
	m := New(Config{Tools: host.NewRunner(), Metrics: telemetry.Noop(), Log: zap.NewNop()})
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
	head := make([]byte, lookBytes)
	if _, err := file.ReadAt(head, 0); err != nil {
		t.Fatal(err)
	}
	return head
}

func TestWhatMkfsMadeIsRecognised(t *testing.T) {
	for _, fsType := range FSTypes() {
		t.Run(fsType, func(t *testing.T) {
			head := made(t, fsType)
			if c, ok := recognise(head, fsType, imageBytes); !ok || !c.clean || c.size != imageBytes {
				t.Fatalf("recognise = %+v, %v", c, ok)
			}
			for _, other := range FSTypes() {
				if _, ok := recognise(head, other, imageBytes); ok != (other == fsType) {
					t.Errorf("taken for %s: %v", other, ok)
				}
			}
			for _, size := range []uint64{0, imageBytes - 1, imageBytes + blockBytes, ^uint64(0)} {
				if _, ok := recognise(head, fsType, size); ok {
					t.Errorf("recognised on a device of %d bytes", size)
				}
			}
			if _, ok := recognise(head[:len(head)-1], fsType, imageBytes); ok {
				t.Error("recognised though part of the head is missing")
			}
		})
	}
}

// marks are what blkid would call something else, or ambivalent. Each is put on top of a file system, with
// its checksum made right again where the mark is within the superblock.
var marks = map[string]struct {
	off  int
	mark []byte
}{
	"an MBR":                {510, []byte{0x55, 0xaa}},
	"a GPT":                 {512, []byte("EFI PART")},
	"LUKS":                  {0, []byte("LUKS\xba\xbe")},
	"LVM in sector 0":       {0, []byte("LABELONE")},
	"LVM in sector 1":       {512, []byte("LABELONE")},
	"xfs":                   {0, []byte("XFSB")},
	"ext4":                  {1024 + ext4Magic, []byte{0x53, 0xef}},
	"a swap area":           {4086, []byte("SWAPSPACE2")},
	"btrfs":                 {int(btrfsSuperOffset + btrfsMagic), []byte("_BHRfS_M")},
	"something behind ext4": {2048, []byte("x")},
}

func TestAnotherMarkIsNotOverlooked(t *testing.T) {
	own := map[string][]string{ext4: {"ext4"}, xfs: {"xfs"}, btrfs: {"btrfs"}}
	for _, fsType := range FSTypes() {
		head := made(t, fsType)
		for name, m := range marks {
			if slices.Contains(own[fsType], name) {
				continue
			}
			marked := slices.Clone(head)
			copy(marked[m.off:], m.mark)
			seal(marked, fsType)
			if _, ok := recognise(marked, fsType, imageBytes); ok {
				t.Errorf("%s with the mark of %s is recognised", fsType, name)
			}
		}
	}
}

// seal makes the checksum of a superblock right.
func seal(head []byte, fsType string) {
	switch fsType {
	case ext4:
		super := head[ext4SuperOffset : ext4SuperOffset+ext4SuperBytes]
		binary.LittleEndian.PutUint32(super[ext4Checksum:], ^castagnoli(super[:ext4Checksum]))
	case xfs:
		binary.LittleEndian.PutUint32(head[xfsChecksum:], 0)
		binary.LittleEndian.PutUint32(head[xfsChecksum:], castagnoli(head[:xfsSectorBytes]))
	case btrfs:
		super := head[btrfsSuperOffset:]
		binary.LittleEndian.PutUint32(super, castagnoli(super[btrfsChecksumBytes:]))
	}
}

func TestOneWrongByteInASuperblockIsSeen(t *testing.T) {
	where := map[string][2]int{ext4: {0, 4096}, xfs: {0, xfsSectorBytes}, btrfs: {int(btrfsSuperOffset) - 100, int(lookBytes)}}
	for _, fsType := range FSTypes() {
		head := made(t, fsType)
		for off := where[fsType][0]; off < where[fsType][1]; off++ {
			if fsType == btrfs && off >= int(btrfsSuperOffset)+4 && off < int(btrfsSuperOffset)+btrfsChecksumBytes {
				continue // of the 32 bytes for a checksum crc32c uses 4
			}
			head[off] ^= 0x10
			if _, ok := recognise(head, fsType, imageBytes); ok {
				t.Errorf("%s with a wrong byte at %d is recognised", fsType, off)
			}
			head[off] ^= 0x10
		}
	}
}

// head reads only what recognise looks at.
func TestWhatIsNotLookedAtMakesNoDifference(t *testing.T) {
	for _, fsType := range FSTypes() {
		whole := made(t, fsType)
		head := bytes.Repeat([]byte{0xa5}, len(whole))
		for _, r := range lookedAt(fsType) {
			copy(head[r.off:][:r.len], whole[r.off:])
		}
		want, _ := recognise(whole, fsType, imageBytes)
		if got, ok := recognise(head, fsType, imageBytes); !ok || got != want {
			t.Errorf("%s with other bytes where nobody looks: %+v, %v, want %+v", fsType, got, ok, want)
		}
	}
}

func TestOnlyACleanExt4IsClean(t *testing.T) {
	little := binary.LittleEndian
	tests := map[string]struct {
		change func(super []byte)
		clean  bool
	}{
		"as made":                     {func([]byte) {}, true},
		"mounted often":               {func(s []byte) { little.PutUint16(s[ext4MountCount:], 60000) }, true},
		"not unmounted":               {func(s []byte) { little.PutUint16(s[ext4State:], 0) }, false},
		"with errors":                 {func(s []byte) { little.PutUint16(s[ext4State:], 3) }, false},
		"with orphans to recover":     {func(s []byte) { little.PutUint16(s[ext4State:], 5) }, false},
		"with a journal to replay":    {func(s []byte) { s[ext4Incompat] |= ext4Recover }, false},
		"with an orphan":              {func(s []byte) { little.PutUint32(s[ext4LastOrphan:], 12) }, false},
		"with an error counted":       {func(s []byte) { little.PutUint32(s[ext4ErrorCount:], 1) }, false},
		"due by mounts":               {func(s []byte) { little.PutUint16(s[ext4MaxMountCount:], 5); little.PutUint16(s[ext4MountCount:], 5) }, false},
		"not due by mounts":           {func(s []byte) { little.PutUint16(s[ext4MaxMountCount:], 5); little.PutUint16(s[ext4MountCount:], 4) }, true},
		"to be checked by date":       {func(s []byte) { little.PutUint32(s[ext4CheckInterval:], 1) }, false},
		"with an orphan file in use":  {func(s []byte) { s[ext4ROCompat+2] |= 1 }, false},
		"with a feature of tomorrow":  {func(s []byte) { s[ext4Incompat+3] |= 0x40 }, false},
		"with a journal of its own":   {func(s []byte) { s[ext4Incompat] |= 8 }, false},
		"shared by hosts (mmp)":       {func(s []byte) { s[ext4Incompat+1] |= 1 }, false},
		"without a journal":           {func(s []byte) { s[ext4Compat] &^= 4 }, false},
		"without metadata checksums":  {func(s []byte) { s[ext4ROCompat+1] &^= 4 }, false},
		"with blocks of another size": {func(s []byte) { s[ext4LogBlock] = 0 }, false},
	}
	for name, tt := range tests {
		head := made(t, ext4)
		super := head[ext4SuperOffset : ext4SuperOffset+ext4SuperBytes]
		tt.change(super)
		if seal(head, ext4); ext4Clean(super) != tt.clean {
			t.Errorf("%s: clean = %v", name, !tt.clean)
		}
		if super[ext4Checksum] ^= 1; ext4Clean(super) {
			t.Errorf("%s: clean in spite of its checksum", name)
		}
	}
}

// Whatever is on the device: no panic, and only what the rules name is recognised.
func FuzzRecognise(f *testing.F) {
	for _, fsType := range FSTypes() {
		head := made(f, fsType)
		f.Add(head[:blockBytes], head[btrfsSuperOffset:], uint64(imageBytes))
	}
	f.Fuzz(func(t *testing.T, start, super []byte, size uint64) {
		head := make([]byte, lookBytes)
		copy(head, start[:min(len(start), int(btrfsSuperOffset))])
		copy(head[btrfsSuperOffset:], super)
		recognised := 0
		for _, fsType := range FSTypes() {
			seal(head, fsType)
			c, ok := recognise(head, fsType, size)
			if !ok {
				continue
			}
			recognised++
			if c.size > size || size-c.size >= blockBytes || allZero(head) || hasBootMark(head) {
				t.Errorf("%s of %d bytes on a device of %d", fsType, c.size, size)
			}
		}
		if recognised > 1 {
			t.Errorf("recognised as %d file systems", recognised)
		}
	})
}

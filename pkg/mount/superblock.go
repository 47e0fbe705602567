package mount

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// What a file system that mkfs made with MkfsArguments looks like at its head, so that most volumes need no
// program to be recognised or found clean. It is recognised only where nothing else can be meant; whatever
// is not is left to blkid and e2fsck, which know every format there is.

const (
	btrfsSuperOffset = 64 * kib
	btrfsSuperBytes  = 4 * kib
	lookBytes        = btrfsSuperOffset + btrfsSuperBytes
	bootBytes        = kib // before an ext4 superblock: partition tables, LVM, LUKS, xfs
	xfsSectorBytes   = 512
)

// content is a file system that was recognised.
type content struct {
	size  uint64 // bytes of the device that it covers
	clean bool   // there is nothing to check or to recover before it is mounted
}

// recognise tells whether the first lookBytes of a device of size bytes are of a file system of that type
// and of nothing else: there is no other mark, its superblock has the right checksum, and it fills the
// device, so that all that lies behind belongs to it.
func recognise(head []byte, fsType string, size uint64) (content, bool) {
	if uint64(len(head)) != lookBytes {
		return content{}, false
	}
	var c content
	ok := false
	switch fsType {
	case ext4:
		c, ok = recogniseExt4(head)
	case xfs:
		c, ok = recogniseXFS(head)
	case btrfs:
		c, ok = recogniseBtrfs(head)
	}
	if !ok || c.size > size || size-c.size >= blockBytes {
		return content{}, false
	}
	return c, true
}

// lookedAt are the pieces of the head that recognise looks at. Of ext4 and xfs they are two blocks: to read what
// lies between takes longer than all else that is done to find a formatted volume.
func lookedAt(fsType string) []region {
	if fsType == btrfs {
		return []region{{0, lookBytes}}
	}
	return []region{{0, blockBytes}, {btrfsSuperOffset, btrfsSuperBytes}}
}

func allZero(data []byte) bool { return len(bytes.Trim(data, "\x00")) == 0 }

func recogniseExt4(head []byte) (content, bool) {
	super := head[ext4SuperOffset : ext4SuperOffset+ext4SuperBytes]
	rest := head[ext4SuperOffset+ext4SuperBytes : blockBytes]
	if !allZero(head[:bootBytes]) || !allZero(rest) || hasBtrfsMagic(head) || !ext4AsMade(super) {
		return content{}, false
	}
	size, err := parseExt4Size(super)
	return content{size: size, clean: ext4Clean(super)}, err == nil
}

// The ext4 superblock goes on (ext4.go).
const (
	ext4MountCount    = 0x34
	ext4MaxMountCount = 0x36
	ext4State         = 0x3a
	ext4CheckInterval = 0x44
	ext4Compat        = 0x5c
	ext4ROCompat      = 0x64
	ext4LastOrphan    = 0xe8
	ext4ChecksumType  = 0x175
	ext4ErrorCount    = 0x194
	ext4Checksum      = 0x3fc

	ext4Valid          = 1 // of the state; an error and orphans would be further bits
	ext4Recover        = 4 // of the incompatible features: the journal has to be replayed
	ext4ChecksumCRC32C = 1
	ext4LogBlock4K     = 2
)

// What MkfsArguments asks for (features_test.go compares it with what mkfs makes of them).
const (
	ext4MadeCompat   = 0x3c
	ext4MadeIncompat = 0x2c2
	ext4MadeROCompat = 0x46b
)

// ext4AsMade tells whether it is the superblock of an ext4 with exactly the features that mkfs gave it.
func ext4AsMade(super []byte) bool {
	little := binary.LittleEndian
	return little.Uint16(super[ext4Magic:]) == ext4MagicValue &&
		little.Uint32(super[ext4LogBlock:]) == ext4LogBlock4K &&
		little.Uint32(super[ext4Compat:]) == ext4MadeCompat &&
		little.Uint32(super[ext4Incompat:])&^ext4Recover == ext4MadeIncompat &&
		little.Uint32(super[ext4ROCompat:]) == ext4MadeROCompat &&
		super[ext4ChecksumType] == ext4ChecksumCRC32C &&
		little.Uint32(super[ext4Checksum:]) == ^castagnoli(super[:ext4Checksum])
}

// ext4Clean tells whether e2fsck -p would say no more than "clean" of a superblock that is as mkfs made it
// (e2fsck/unix.c, check_if_skip, and what comes before it): unmounted in order, no journal to replay, no
// orphans, no error ever counted, and no check that is due every so many mounts or days.
func ext4Clean(super []byte) bool {
	little := binary.LittleEndian
	most := int16(little.Uint16(super[ext4MaxMountCount:]))
	return ext4AsMade(super) &&
		little.Uint16(super[ext4State:]) == ext4Valid &&
		little.Uint32(super[ext4Incompat:])&ext4Recover == 0 &&
		little.Uint32(super[ext4LastOrphan:]) == 0 &&
		little.Uint32(super[ext4ErrorCount:]) == 0 &&
		little.Uint32(super[ext4CheckInterval:]) == 0 &&
		(most <= 0 || little.Uint16(super[ext4MountCount:]) < uint16(most))
}

// The xfs superblock (fs/xfs/libxfs/xfs_format.h, struct xfs_dsb), big-endian but for its checksum.
const (
	xfsBlockSize  = 4
	xfsDataBlocks = 8
	xfsVersion    = 100
	xfsSectorSize = 102
	xfsInProgress = 126 // mkfs has not ended
	xfsChecksum   = 224

	xfsVersion5 = 5
)

// recogniseXFS knows the one with sectors of 512 bytes, whose first four are headers of the first allocation
// group. Its log, if it is dirty, is replayed by the mount.
func recogniseXFS(head []byte) (content, bool) {
	super, big := head[:xfsSectorBytes], binary.BigEndian
	blank := [4]byte{}
	crc := crc32.Update(castagnoli(super[:xfsChecksum]), crcTable, blank[:])
	crc = crc32.Update(crc, crcTable, super[xfsChecksum+len(blank):])
	if big.Uint32(super[xfsBlockSize:]) != uint32(blockBytes) ||
		big.Uint16(super[xfsVersion:])&0xf != xfsVersion5 || big.Uint16(super[xfsSectorSize:]) != xfsSectorBytes ||
		super[xfsInProgress] != 0 || binary.LittleEndian.Uint32(super[xfsChecksum:]) != crc {
		return content{}, false
	}
	for i, magic := range []string{"XFSB", "XAGF", "XAGI", "XAFL"} {
		if !bytes.HasPrefix(head[i*xfsSectorBytes:], []byte(magic)) {
			return content{}, false
		}
	}
	if hasBootMark(head) || hasExt4Magic(head) || hasBtrfsMagic(head) || !allZero(head[4*xfsSectorBytes:blockBytes]) {
		return content{}, false
	}
	blocks := big.Uint64(super[xfsDataBlocks:])
	if blocks > ^uint64(0)/blockBytes {
		return content{}, false
	}
	return content{size: blocks * blockBytes, clean: true}, true
}

// The btrfs superblock (include/uapi/linux/btrfs_tree.h, struct btrfs_super_block).
const (
	btrfsChecksumBytes = 0x20
	btrfsOwnOffset     = 0x30
	btrfsMagic         = 0x40
	btrfsTotalBytes    = 0x70
	btrfsDevices       = 0x88
	btrfsChecksumType  = 0xc4 // 0 is crc32c
)

func recogniseBtrfs(head []byte) (content, bool) {
	super, little := head[btrfsSuperOffset:], binary.LittleEndian
	if !allZero(head[:btrfsSuperOffset]) || !hasBtrfsMagic(head) || little.Uint64(super[btrfsOwnOffset:]) != btrfsSuperOffset ||
		little.Uint64(super[btrfsDevices:]) != 1 || little.Uint16(super[btrfsChecksumType:]) != 0 ||
		little.Uint32(super) != castagnoli(super[btrfsChecksumBytes:]) {
		return content{}, false
	}
	return content{size: little.Uint64(super[btrfsTotalBytes:]), clean: true}, true
}

func hasBootMark(head []byte) bool { return head[510] == 0x55 && head[511] == 0xaa }

func hasExt4Magic(head []byte) bool {
	return binary.LittleEndian.Uint16(head[ext4SuperOffset+ext4Magic:]) == ext4MagicValue
}

func hasBtrfsMagic(head []byte) bool {
	return bytes.HasPrefix(head[btrfsSuperOffset+btrfsMagic:], []byte("_BHRfS_M"))
}

var crcTable = crc32.MakeTable(crc32.Castagnoli)

// castagnoli is CRC-32C as xfs and btrfs store it; ext4 stores its complement.
func castagnoli(data []byte) uint32 { return crc32.Checksum(data, crcTable) }

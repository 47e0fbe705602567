package mounttest

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"golang.org/x/sys/unix"
)

// filesystem is what the superblocks of a disk say. kind is "" on a blank disk, "dos" for a
// partition table, "ambivalent" for contradictions.
type filesystem struct {
	kind string
	size uint64
	uuid [16]byte
}

const (
	blockSize   = 4096
	ext4Super   = 1024
	btrfsSuper  = 64 << 10
	btrfsMirror = 64 << 20
	ext4Group   = 128 << 20 // of 4 KiB blocks
	signedBytes = 128 << 10
)

// filesystem reads the superblocks. An error is one of the disk.
func (d *disk) filesystem() (filesystem, error) {
	head := make([]byte, signedBytes)
	if _, err := d.readAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return filesystem{}, err
	}
	var found []filesystem
	if binary.LittleEndian.Uint16(head[ext4Super+0x38:]) == 0xef53 {
		super := head[ext4Super:]
		found = append(found, filesystem{"ext4", uint64(binary.LittleEndian.Uint32(super[4:])) * blockSize, [16]byte(super[0x68:])})
	}
	if bytes.HasPrefix(head, []byte("XFSB")) {
		found = append(found, filesystem{"xfs", binary.BigEndian.Uint64(head[8:]) * blockSize, [16]byte(head[32:])})
	}
	if super := head[btrfsSuper:]; string(super[0x40:0x48]) == "_BHRfS_M" {
		found = append(found, filesystem{"btrfs", binary.LittleEndian.Uint64(super[0x70:]), [16]byte(super[0x20:])})
	}
	switch {
	case len(found) > 1:
		return filesystem{kind: "ambivalent"}, nil
	case len(found) == 1:
		return found[0], nil
	case head[510] == 0x55 && head[511] == 0xaa:
		return filesystem{kind: "dos"}, nil
	default:
		return filesystem{}, nil
	}
}

// writeFilesystem writes superblocks for size bytes. Of an mkfs that is killed half-way the copies
// are there and the primary is not.
func (d *disk) writeFilesystem(kind string, size uint64, uuid [16]byte, half bool) error {
	var super []byte
	var primary int64
	var copies []int64
	switch kind {
	case "ext4":
		super = ext4Superblock(size, uuid, d.shown())
		primary, copies = ext4Super, []int64{ext4Group, 3 * ext4Group}
	case "xfs":
		super = xfsSuperblock(size, uuid)
		copies = []int64{int64(size-1) &^ (blockSize - 1)} // mkfs.xfs writes the end first of all
	default:
		super = btrfsSuperblock(size, uuid)
		primary, copies = btrfsSuper, []int64{btrfsMirror}
	}
	for _, off := range copies {
		if uint64(off)+blockSize <= size {
			if _, err := d.writeAt(super, off); err != nil {
				return err
			}
		}
	}
	if half {
		return nil
	}
	_, err := d.writeAt(super, primary)
	return err
}

// ext4Superblock is one as mkfs.ext4 makes it with the driver's arguments. One that is dirty has a journal to
// replay, one that is corrupt has met an error.
func ext4Superblock(size uint64, uuid [16]byte, state State) []byte {
	super, little := make([]byte, 1024), binary.LittleEndian
	little.PutUint32(super[0x04:], uint32(size/blockSize))
	little.PutUint32(super[0x18:], 2)      // blocks of 4 KiB
	little.PutUint16(super[0x36:], 0xffff) // no check every so many mounts
	little.PutUint16(super[0x38:], 0xef53)
	little.PutUint16(super[0x3a:], 1) // unmounted in order
	little.PutUint32(super[0x5c:], 0x3c)
	little.PutUint32(super[0x60:], 0x2c2)
	little.PutUint32(super[0x64:], 0x46b)
	copy(super[0x68:], uuid[:])
	super[0x175] = 1 // crc32c
	switch state {
	case Dirty:
		little.PutUint32(super[0x60:], 0x2c6)
	case Corrupt:
		little.PutUint16(super[0x3a:], 3)
	}
	little.PutUint32(super[0x3fc:], ^crc32c(super[:0x3fc]))
	return super
}

func xfsSuperblock(size uint64, uuid [16]byte) []byte {
	head, big := make([]byte, 2048), binary.BigEndian
	for i, magic := range []string{"XFSB", "XAGF", "XAGI", "XAFL"} { // headers of the first allocation group
		copy(head[i*512:], magic)
	}
	super := head[:512]
	big.PutUint32(super[4:], blockSize)
	big.PutUint64(super[8:], size/blockSize)
	copy(super[32:], uuid[:])
	big.PutUint16(super[100:], 5) // version
	big.PutUint16(super[102:], 512)
	binary.LittleEndian.PutUint32(super[224:], crc32c(super))
	return head
}

func btrfsSuperblock(size uint64, uuid [16]byte) []byte {
	super, little := make([]byte, blockSize), binary.LittleEndian
	copy(super[0x20:], uuid[:])
	little.PutUint64(super[0x30:], btrfsSuper)
	copy(super[0x40:], "_BHRfS_M")
	little.PutUint64(super[0x70:], size)
	little.PutUint64(super[0x88:], 1) // devices
	little.PutUint32(super, crc32c(super[0x20:]))
	return super
}

func crc32c(data []byte) uint32 { return crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)) }

// setState makes the ext4 on a disk, if there is one, say how it is.
func (d *disk) setState(state State) error {
	d.state = state
	fs, err := d.filesystem()
	if err != nil || fs.kind != "ext4" {
		return err
	}
	_, err = d.writeAt(ext4Superblock(fs.size, fs.uuid, d.shown()), ext4Super)
	return err
}

// shown is the state that the superblock says: one that is mounted, or was when its disk went away, has a
// journal to replay.
func (d *disk) shown() State {
	if d.journal && d.state == Clean {
		return Dirty
	}
	return d.state
}

// blank tells whether no byte was ever written, or all were zeroed again.
func (d *disk) blank() (bool, error) {
	size, buffer := int64(d.size()), make([]byte, 1<<20)
	for off := int64(0); off < size; {
		data, err := unix.Seek(int(d.file.Fd()), off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		n, err := d.file.ReadAt(buffer, data)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		if len(bytes.Trim(buffer[:n], "\x00")) > 0 {
			return false, nil
		}
		off = data + int64(n)
	}
	return true, nil
}

func newUUID() (uuid [16]byte) {
	_, _ = rand.Read(uuid[:]) // never fails, crypto/rand
	return uuid
}

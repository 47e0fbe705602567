package mounttest

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
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
	super, primary := make([]byte, blockSize), int64(0)
	var copies []int64
	switch kind {
	case "ext4":
		binary.LittleEndian.PutUint32(super[4:], uint32(size/blockSize))
		binary.LittleEndian.PutUint32(super[0x18:], 2)
		binary.LittleEndian.PutUint16(super[0x38:], 0xef53)
		copy(super[0x68:], uuid[:])
		primary, copies = ext4Super, []int64{ext4Group, 3 * ext4Group}
	case "xfs":
		copy(super, "XFSB")
		binary.BigEndian.PutUint32(super[4:], blockSize)
		binary.BigEndian.PutUint64(super[8:], size/blockSize)
		copy(super[32:], uuid[:])
		copies = []int64{int64(size-1) &^ (blockSize - 1)} // mkfs.xfs writes the end first of all
	default:
		copy(super[0x20:], uuid[:])
		copy(super[0x40:], "_BHRfS_M")
		binary.LittleEndian.PutUint64(super[0x70:], size)
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

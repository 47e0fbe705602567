package mount

import (
	"context"
	"encoding/binary"
	"fmt"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// The ext4 superblock, Documentation/filesystems/ext4/super.rst. It is kept in the page cache of
// the device, so that reading the device shows a growth at once, mounted or not.
const (
	ext4SuperOffset = 1024
	ext4SuperBytes  = 1024
	ext4BlocksLo    = 0x04
	ext4LogBlock    = 0x18
	ext4Magic       = 0x38
	ext4Incompat    = 0x60
	ext4BlocksHi    = 0x150

	ext4MagicValue    = 0xef53
	ext4Incompat64Bit = 0x80
)

// ext4Size is how many bytes of the device, which is open, its ext4 covers.
func (m *Mounter) ext4Size(ctx context.Context, path string, device host.Device) (uint64, error) {
	op := "read the superblock of " + path
	super, err := m.ext4Super(ctx, path, device)
	if err != nil {
		return 0, fault.Wrap(op, err)
	}
	size, err := parseExt4Size(super)
	return size, fault.E(op, fault.FSCorrupt, err)
}

// ext4Super reads where an ext4 has its superblock.
func (m *Mounter) ext4Super(ctx context.Context, path string, device host.Device) ([]byte, error) {
	super := make([]byte, ext4SuperBytes)
	err := m.onDevice(ctx, path, func() error {
		_, err := device.ReadAt(super, ext4SuperOffset)
		return err
	})
	if err != nil {
		return nil, err
	}
	return super, nil
}

func parseExt4Size(super []byte) (uint64, error) {
	little := binary.LittleEndian
	if magic := little.Uint16(super[ext4Magic:]); magic != ext4MagicValue {
		return 0, fmt.Errorf("no ext4 superblock: its magic is %#04x", magic)
	}
	logBlock := little.Uint32(super[ext4LogBlock:])
	if logBlock > 6 { // 64 KiB, the largest there is
		return 0, fmt.Errorf("ext4 superblock: log block size %d", logBlock)
	}
	blocks := uint64(little.Uint32(super[ext4BlocksLo:]))
	if little.Uint32(super[ext4Incompat:])&ext4Incompat64Bit != 0 {
		blocks |= uint64(little.Uint32(super[ext4BlocksHi:])) << 32
	}
	blockSize := kib << logBlock
	if blocks > ^uint64(0)/blockSize {
		return 0, fmt.Errorf("ext4 superblock: %d blocks of %d bytes", blocks, blockSize)
	}
	return blocks * blockSize, nil
}

package mount

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

const (
	kib = uint64(1) << 10
	mib = uint64(1) << 20
	gib = uint64(1) << 30

	headBytes   = 2 * mib // superblocks, partition tables, LUKS and LVM headers
	tailBytes   = 1 * mib // backup GPT, MD RAID, ZFS labels
	blockBytes  = host.BlockAlign
	sampleCount = 256
)

// region is a piece of a device, in bytes.
type region struct {
	off, len uint64
}

// surveyed are all places that have to be zero for a device to be blank.
func surveyed(size uint64) []region { return append(signatures(size), samples(size)...) }

// signatures are the places where a file system or a partition table leaves its mark: the head,
// the tail, ext4's backup superblocks and btrfs' superblock mirrors. mkfs writes to all of them
// that belong to its kind, so that they also tell and undo an interrupted mkfs.
func signatures(size uint64) []region {
	regions := []region{{0, headBytes}}
	for _, off := range slices.Concat(ext4Backups(size), []uint64{64 * mib, 256 * gib}) {
		regions = append(regions, region{off, blockBytes})
	}
	regions = append(regions, region{size - min(size, tailBytes), tailBytes})
	return clip(regions, size)
}

// ext4Backups are the places of backup superblocks for every block size: with sparse_super they
// are in group 1 and in the groups that are powers of 3, 5 and 7; a group is 8 blocks for each
// byte of a block. (Documentation/filesystems/ext4/blockgroup.rst)
func ext4Backups(size uint64) []uint64 {
	var offsets []uint64
	for block := kib; block <= 64*kib; block *= 2 {
		group, first := 8*block*block, uint64(0)
		if block == kib {
			first = block // s_first_data_block is 1
		}
		for _, base := range []uint64{3, 5, 7} {
			for n := uint64(1); n*group+first < size; n *= base {
				offsets = append(offsets, n*group+first)
			}
		}
	}
	slices.Sort(offsets)
	return slices.Compact(offsets)
}

// samples are evenly spread blocks: what was written by hand, or by a program without signatures.
func samples(size uint64) []region {
	regions := make([]region, 0, sampleCount)
	for i := range uint64(sampleCount) {
		off := size/sampleCount*i + size/sampleCount/2
		regions = append(regions, region{off / blockBytes * blockBytes, blockBytes})
	}
	return clip(regions, size)
}

// clip widens regions to whole blocks, as they are read past the page cache, cuts them at the end of the
// device and drops what lies beyond.
func clip(regions []region, size uint64) []region {
	clipped := regions[:0]
	for _, r := range regions {
		if r.off < size {
			off := r.off / blockBytes * blockBytes
			end := min((r.off+r.len+blockBytes-1)/blockBytes*blockBytes, size)
			clipped = append(clipped, region{off, end - off})
		}
	}
	return clipped
}

// errNotZero says that a device holds data.
type errNotZero struct {
	off uint64
}

func (e *errNotZero) Error() string { return fmt.Sprintf("there is data near byte %d", e.off) }

// pieceBytes is what is read at once.
const pieceBytes = 128 * kib

// surveyZero reads all regions. It is nil only when every byte could be read and is zero.
func surveyZero(ctx context.Context, device host.Device, regions []region) error {
	zero := make([]byte, pieceBytes)
	return device.ReadEach(split(regions), func(r host.Range, data []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !bytes.Equal(data, zero[:r.Len]) {
			return &errNotZero{off: uint64(r.Off)}
		}
		return nil
	})
}

// split cuts regions into pieces of at most pieceBytes.
func split(regions []region) []host.Range {
	var pieces []host.Range
	for _, r := range regions {
		for off := r.off; off < r.off+r.len; off += pieceBytes {
			pieces = append(pieces, host.Range{Off: int64(off), Len: int64(min(pieceBytes, r.off+r.len-off))})
		}
	}
	return pieces
}

// wipe overwrites all regions with zeros and waits until that is on the device.
func wipe(ctx context.Context, device host.Device, regions []region) error {
	zero := make([]byte, headBytes)
	for _, r := range regions {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := device.WriteAt(zero[:r.len], int64(r.off)); err != nil {
			return fmt.Errorf("write zeros at %d: %w", r.off, err)
		}
	}
	return device.Sync()
}

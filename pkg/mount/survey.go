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
	blockBytes  = 4 * kib
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

// clip cuts regions at the end of the device and drops what lies beyond.
func clip(regions []region, size uint64) []region {
	clipped := regions[:0]
	for _, r := range regions {
		if r.off < size {
			clipped = append(clipped, region{r.off, min(r.len, size-r.off)})
		}
	}
	return clipped
}

// errNotZero says that a device holds data.
type errNotZero struct {
	off uint64
}

func (e *errNotZero) Error() string { return fmt.Sprintf("there is data near byte %d", e.off) }

const (
	pieceBytes = 128 * kib // what is read at once
	readAhead  = 32        // pieces the kernel reads while one is looked at: at most 4 MiB
)

// surveyZero reads all regions. It is nil only when every byte could be read and is zero.
//
// Most regions are single blocks all over the device, so that reading one after the other costs a round
// trip each: the kernel is told of the next ones in advance.
func surveyZero(ctx context.Context, device host.Device, regions []region) error {
	pieces := split(regions)
	buffer, zero := make([]byte, pieceBytes), make([]byte, pieceBytes)
	told := 0
	for i, r := range pieces {
		if err := ctx.Err(); err != nil {
			return err
		}
		for ; told < min(i+readAhead, len(pieces)); told++ {
			device.Prefetch(int64(pieces[told].off), int64(pieces[told].len))
		}
		piece := buffer[:r.len]
		if n, err := device.ReadAt(piece, int64(r.off)); n < len(piece) {
			return fmt.Errorf("read %d bytes at %d: got %d: %w", r.len, r.off, n, err)
		}
		if !bytes.Equal(piece, zero[:r.len]) {
			return &errNotZero{off: r.off}
		}
	}
	return nil
}

// split cuts regions into pieces of at most pieceBytes.
func split(regions []region) []region {
	var pieces []region
	for _, r := range regions {
		for r.len > pieceBytes {
			pieces = append(pieces, region{r.off, pieceBytes})
			r = region{r.off + pieceBytes, r.len - pieceBytes}
		}
		pieces = append(pieces, r)
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

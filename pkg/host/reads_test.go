package host

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// marked is a device with a number in the first byte of each of its blocks, and a range for each.
func marked(t *testing.T, blocks int) (*BlockDevice, []Range) {
	t.Helper()
	b := openBlock(t, loopDevice(t, int64(blocks)*BlockAlign), true, true)
	var ranges []Range
	for i := range blocks {
		r := Range{Off: int64(i) * BlockAlign, Len: BlockAlign}
		if _, err := b.WriteAt([]byte{byte(i)}, r.Off); err != nil {
			t.Fatal(err)
		}
		ranges = append(ranges, r)
	}
	if err := b.Sync(); err != nil {
		t.Fatal(err)
	}
	return b, ranges
}

func TestEachRangeIsReadAndShownInItsTurn(t *testing.T) {
	b, ranges := marked(t, 3*readsAtOnce+7) // several batches
	ranges = append(ranges, Range{Off: BlockAlign, Len: 3 * BlockAlign}, Range{Off: 0, Len: BlockAlign})
	var shown []Range
	err := b.ReadEach(ranges, func(r Range, data []byte) error {
		if int64(len(data)) != r.Len {
			t.Errorf("%+v: %d bytes", r, len(data))
		}
		for off := int64(0); off < r.Len; off += BlockAlign {
			want := make([]byte, BlockAlign)
			want[0] = byte((r.Off + off) / BlockAlign)
			if !bytes.Equal(data[off:off+BlockAlign], want) {
				t.Errorf("%+v: block %d begins with %d", r, off/BlockAlign, data[off])
			}
		}
		shown = append(shown, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(shown) != len(ranges) {
		t.Fatalf("%d of %d ranges were shown", len(shown), len(ranges))
	}
	for i := range ranges {
		if shown[i] != ranges[i] {
			t.Fatalf("range %d is %+v, want %+v", i, shown[i], ranges[i])
		}
	}
}

func TestReadingEndsWithTheFirstErrorOfWhoLooks(t *testing.T) {
	b, ranges := marked(t, 4)
	stop, looks := errors.New("stop"), 0
	err := b.ReadEach(ranges, func(Range, []byte) error { looks++; return stop })
	if !errors.Is(err, stop) || looks != 1 {
		t.Errorf("%d looks, error %v", looks, err)
	}
}

// The same is so where the kernel has no AIO context left.
func TestARangeThatIsNotThereIsAnError(t *testing.T) {
	b, ranges := marked(t, 4)
	for name, tt := range map[string]struct {
		r    Range
		want error
	}{
		"behind the end":   {Range{4 * BlockAlign, BlockAlign}, io.ErrUnexpectedEOF},
		"across the end":   {Range{3 * BlockAlign, 2 * BlockAlign}, io.ErrUnexpectedEOF},
		"not whole blocks": {Range{1, BlockAlign}, unix.EINVAL},
	} {
		var shown []Range
		looked := func(r Range, _ []byte) error { shown = append(shown, r); return nil }
		if err := b.ReadEach([]Range{ranges[0], ranges[1], tt.r, ranges[2]}, looked); !errors.Is(err, tt.want) {
			t.Errorf("%s: error %v, want %v", name, err, tt.want)
		}
		if !slices.Equal(shown, ranges[:2]) {
			t.Errorf("%s: shown are %v, want what is before it", name, shown)
		}
		fd, err := b.openDirect()
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(readInTurn(fd, []Range{tt.r}, [][]byte{aligned(t, tt.r.Len)})...); !errors.Is(err, tt.want) {
			t.Errorf("%s: one after the other: error %v, want %v", name, err, tt.want)
		}
		unix.Close(fd)
	}
}

func TestARangeWithoutBytesIsRefused(t *testing.T) {
	b, ranges := marked(t, 2)
	err := b.ReadEach(append(ranges, Range{Off: BlockAlign}), func(Range, []byte) error { return nil })
	if !errors.Is(err, unix.EINVAL) {
		t.Errorf("error %v", err)
	}
}

func TestReadingOneAfterTheOtherGivesTheSame(t *testing.T) {
	b, ranges := marked(t, 5)
	fd, err := b.openDirect()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var buffers [][]byte
	for _, r := range ranges {
		buffers = append(buffers, aligned(t, r.Len))
	}
	if err := errors.Join(readInTurn(fd, ranges, buffers)...); err != nil {
		t.Fatal(err)
	}
	for i, data := range buffers {
		if data[0] != byte(i) {
			t.Errorf("block %d begins with %d", i, data[0])
		}
	}
}

// aligned is memory that O_DIRECT takes.
func aligned(t *testing.T, n int64) []byte {
	t.Helper()
	memory, err := unix.Mmap(-1, 0, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(memory) })
	return memory
}

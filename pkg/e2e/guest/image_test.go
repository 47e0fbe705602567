package guest

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// tooLateMark is in each 4 KiB of what must never arrive.
const tooLateMark = "written after the node was cut off: never to be seen on the array"

func tooLate(n int) []byte {
	block := make([]byte, 4096)
	copy(block, tooLateMark)
	return bytes.Repeat(block, n/len(block))
}

// image is a whole volume as the array has it.
type image struct {
	data map[int64][]byte // by place; the rest was never written
	late []int64          // where there is something too late
}

// imageOf reads the volume's file.
func (a *array) imageOf(v *volume) image {
	a.t.Helper()
	f, err := os.Open(a.file(v))
	ok(a.t, err)
	defer f.Close()
	i := image{data: map[int64][]byte{}}
	for at := int64(0); ; {
		at, err = unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // only a hole is left
			break
		}
		ok(a.t, err)
		end, err := unix.Seek(int(f.Fd()), at, unix.SEEK_HOLE)
		ok(a.t, err)
		data := make([]byte, end-at)
		_, err = f.ReadAt(data, at)
		ok(a.t, err)
		i.data[at] = data
		for found := 0; ; found++ {
			next := bytes.Index(data[found:], []byte(tooLateMark))
			if next < 0 {
				break
			}
			found += next
			i.late = append(i.late, at+int64(found))
		}
		at = end
	}
	return i
}

// wantSame is the proof that nothing has arrived since an earlier look, and nothing that came too late ever.
func (a *array) wantSame(t *testing.T, v *volume, before image) {
	t.Helper()
	now := a.imageOf(v)
	if !maps.EqualFunc(now.data, before.data, bytes.Equal) {
		t.Error("the volume's bytes have changed on the array although nobody who may has written")
	}
	if len(now.late) > 0 {
		t.Errorf("what the node wrote after it was cut off has arrived, at %d places, the first at %d", len(now.late), now.late[0])
	}
}

package host

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// loopDevice attaches a sparse file of size bytes and takes it away again after the test.
func loopDevice(t *testing.T, size int64) string {
	t.Helper()
	needRoot(t)
	backing := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(backing, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(backing, size); err != nil {
		t.Fatal(err)
	}
	result, err := NewRunner().Run(t.Context(), "losetup", "--find", "--show", backing)
	if err != nil {
		t.Skipf("no loop device to be had here: %v", err)
	}
	path := strings.TrimSpace(result.Stdout)
	t.Cleanup(func() {
		if _, err := NewRunner().Run(context.WithoutCancel(t.Context()), "losetup", "-d", path); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return path
}

func openBlock(t *testing.T, path string, exclusive, write bool) *BlockDevice {
	t.Helper()
	b, err := OpenBlock(path, exclusive, write)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestBlockDeviceTellsNumberAndSize(t *testing.T) {
	const size = 5<<20 + 4096
	path := loopDevice(t, size)
	info, err := openBlock(t, path, false, false).Info()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/sys/block/" + filepath.Base(path) + "/dev")
	if err != nil {
		t.Fatal(err)
	}
	want, err := ParseDevNum(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if info != (BlockInfo{Num: want, Size: size}) {
		t.Errorf("info = %+v, want %v and %d", info, want, size)
	}
}

func TestBlockDeviceReadsWhatWasWritten(t *testing.T) {
	path := loopDevice(t, 1<<20)
	b := openBlock(t, path, true, true)
	written := bytes.Repeat([]byte("x"), 4096)
	if _, err := b.WriteAt(written, 8192); err != nil {
		t.Fatal(err)
	}
	if err := b.Sync(); err != nil {
		t.Fatal(err)
	}
	read := make([]byte, 4096)
	if _, err := openBlock(t, path, false, false).ReadAt(read, 8192); err != nil || !bytes.Equal(read, written) {
		t.Errorf("read back %q…, %v", read[:8], err)
	}
}

func TestExclusiveOpenIsRefusedWhileAnotherHoldsTheDevice(t *testing.T) {
	path := loopDevice(t, 1<<20)
	first := openBlock(t, path, true, false)
	if b, err := OpenBlock(path, true, false); !errors.Is(err, unix.EBUSY) {
		b.Close()
		t.Fatalf("second exclusive open = %v, want EBUSY", err)
	}
	openBlock(t, path, false, false) // a look is allowed
	first.Close()
	openBlock(t, path, true, false)
}

func TestReadOnlyDeviceRefusesWriters(t *testing.T) {
	path := loopDevice(t, 1<<20)
	num := openBlock(t, path, false, false).Num()
	if err := (Devices{}).SetReadOnly(path, DevNum{1, 2}, true); err == nil {
		t.Error("another device was made read-only")
	}
	if err := (Devices{}).SetReadOnly(path, num, true); err != nil {
		t.Fatal(err)
	}
	if info, err := openBlock(t, path, false, false).Info(); err != nil || !info.ReadOnly {
		t.Errorf("info = %+v, %v; want read-only", info, err)
	}
	writer := openBlock(t, path, false, true) // the kernel refuses the write, not the open
	if _, err := writer.WriteAt(make([]byte, 4096), 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("write = %v, want EPERM", err)
	}
	if err := (Devices{}).SetReadOnly(path, num, false); err != nil {
		t.Fatal(err)
	}
	if _, err := writer.WriteAt(make([]byte, 4096), 0); err != nil {
		t.Errorf("write after the device is writable again: %v", err)
	}
}

func TestOpenBlockRefusesWhatIsNoBlockDevice(t *testing.T) {
	dir := t.TempDir()
	fifo, file := filepath.Join(dir, "fifo"), filepath.Join(dir, "file")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{fifo: unix.ENOTBLK, file: unix.ENOTBLK, "/dev/null": unix.ENOTBLK, filepath.Join(dir, "none"): os.ErrNotExist} {
		if _, err := OpenBlock(path, false, false); !errors.Is(err, want) {
			t.Errorf("%s: error = %v, want %v", path, err, want)
		}
	}
}

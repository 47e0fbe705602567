package guest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
)

// content is n bytes that the seed alone decides.
func content(seed byte, n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data) // never fails
	return data
}

// writeData writes n bytes to a file or a device and makes them last.
func writeData(t *testing.T, path string, seed byte, n int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	ok(t, err)
	_, err = f.Write(content(seed, n))
	ok(t, errors.Join(err, f.Sync(), f.Close()))
}

// checkData compares what writeData has written.
func checkData(t *testing.T, path string, seed byte, n int) {
	t.Helper()
	f, err := os.Open(path)
	ok(t, err)
	defer f.Close()
	data := make([]byte, n)
	_, err = io.ReadFull(f, data)
	ok(t, err)
	if !bytes.Equal(data, content(seed, n)) {
		t.Errorf("%s is not what was written", path)
	}
}

const writerBlock = 4096

// writer is a pod that writes numbered blocks, one after the other and round again, and syncs each. What a
// sync has confirmed must never be lost.
type writer struct {
	t      *testing.T
	path   string
	slots  int // blocks it goes round in
	stop   chan struct{}
	ended  chan struct{}
	mu     sync.Mutex
	synced int // numbers below it are confirmed
	err    error
}

// startWriter writes to a file or device of a volume until it is stopped or fails.
func startWriter(t *testing.T, path string) *writer {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	ok(t, err)
	w := &writer{t: t, path: path, slots: 1024, stop: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		err := w.run(f)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.err = errors.Join(err, f.Close())
	}()
	return w
}

func (w *writer) run(f *os.File) error {
	for number := 0; ; number++ {
		select {
		case <-w.stop:
			return nil
		default:
		}
		if _, err := f.WriteAt(numbered(number), int64(number%w.slots)*writerBlock); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		w.mu.Lock()
		w.synced = number + 1
		w.mu.Unlock()
	}
}

func numbered(number int) []byte {
	return bytes.Repeat(binary.LittleEndian.AppendUint64(nil, uint64(number)), writerBlock/8)
}

// confirmed is how many blocks are known to be safe.
func (w *writer) confirmed() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.synced
}

// end stops it, waits, and gives the error that ended it before, if any.
func (w *writer) end() error {
	close(w.stop)
	<-w.ended
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// check reads path, where the volume is by now, and fails the test if a confirmed block is lost or broken.
func (w *writer) check(path string) {
	w.t.Helper()
	f, err := os.Open(path)
	ok(w.t, err)
	defer f.Close()
	synced := w.confirmed()
	for slot := range min(synced, w.slots) {
		last := synced - 1 - (synced-1-slot)%w.slots
		if err := w.checkSlot(f, slot, last); err != nil {
			w.t.Errorf("%s: %v", path, err)
		}
	}
}

func (w *writer) checkSlot(f *os.File, slot, last int) error {
	data := make([]byte, writerBlock)
	if _, err := f.ReadAt(data, int64(slot)*writerBlock); err != nil {
		return err
	}
	number := int(binary.LittleEndian.Uint64(data))
	switch {
	case !bytes.Equal(data, numbered(number)):
		return fmt.Errorf("block %d is torn", slot)
	case number < last || number%w.slots != slot:
		return fmt.Errorf("block %d has number %d, and %d was confirmed", slot, number, last)
	}
	return nil
}

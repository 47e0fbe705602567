package guest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// podPath says to a process that it is a pod, and what it has open.
const podPath = "RDS_E2E_POD"

// TestPairPod is not a test but a program: the pod of an outpost, which takes PodCalls until it is killed.
func TestPairPod(t *testing.T) {
	path := os.Getenv(podPath)
	if path == "" {
		t.Skip("no pod is wanted")
	}
	p, err := openPod(path)
	ok(t, err)
	server := rpc.NewServer()
	ok(t, server.RegisterName("Pod", p))
	l, err := net.Listen("tcp", secondAddress+":0")
	ok(t, err)
	told := os.NewFile(3, "address")
	_, err = fmt.Fprintln(told, l.Addr())
	ok(t, errors.Join(err, told.Close()))
	server.Accept(l)
}

// A pod has two areas of its volume open: what it has kept, and what comes too late.
const (
	kept = iota
	late
)

// areaBytes is the size of each, and where the second begins on a raw device.
const areaBytes = 8 * mib

// PodCalls are those of a pod that has a volume: a directory with a file for each area, or a device.
type PodCalls struct {
	path  string
	block bool
	areas [2]*os.File

	mu     sync.Mutex
	synced PodSync
}

// openPod makes the files, before the array is away: making one later could wait for it.
func openPod(path string) (*PodCalls, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	p := &PodCalls{path: path, block: !info.IsDir()}
	for area := range p.areas {
		name, _ := p.place(area)
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		p.areas[area] = f
	}
	return p, errors.Join(p.areas[kept].Sync(), p.areas[late].Sync())
}

// place is where an area is: in which file, and from where.
func (p *PodCalls) place(area int) (name string, at int64) {
	if p.block {
		return p.path, int64(area) * areaBytes
	}
	return filepath.Join(p.path, [...]string{"kept", "late"}[area]), 0
}

// PodData is bytes of an area. Seed 0 is what comes too late.
type PodData struct {
	Area int
	Seed byte
	N    int
	Sync bool
}

func (d PodData) bytes() []byte {
	if d.Seed == 0 {
		return tooLate(d.N)
	}
	return content(d.Seed, d.N)
}

// Write writes, through the cache of the kernel.
func (p *PodCalls) Write(d PodData, _ *bool) error {
	_, at := p.place(d.Area)
	_, err := p.areas[d.Area].WriteAt(d.bytes(), at)
	if err == nil && d.Sync {
		err = p.areas[d.Area].Sync()
	}
	return err
}

// WriteDirect writes past the cache of the kernel.
func (p *PodCalls) WriteDirect(d PodData, _ *bool) error {
	f, at, err := p.direct(d.Area, unix.O_WRONLY)
	if err != nil {
		return err
	}
	data, free := aligned(d.N)
	defer free()
	copy(data, d.bytes())
	_, err = f.WriteAt(data, at)
	return errors.Join(err, f.Close())
}

// Check reads from the device, not from the cache.
func (p *PodCalls) Check(d PodData, _ *bool) error {
	f, at, err := p.direct(d.Area, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	data, free := aligned(d.N)
	defer free()
	if _, err := io.ReadFull(io.NewSectionReader(f, at, int64(d.N)), data); err != nil {
		return err
	}
	if want := d.bytes(); !bytes.Equal(data, want) {
		wrong := 0
		for ; data[wrong] == want[wrong]; wrong++ {
		}
		return fmt.Errorf("area %d of %s is not what was written, from byte %d on: %.32q", d.Area, p.path, wrong, data[wrong:])
	}
	return nil
}

func (p *PodCalls) direct(area, how int) (*os.File, int64, error) {
	name, at := p.place(area)
	f, err := os.OpenFile(name, how|unix.O_DIRECT, 0)
	return f, at, err
}

// aligned is memory as direct I/O wants it, in small pages, see remote.
func aligned(n int) (data []byte, free func()) {
	data, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err == nil {
		err = unix.Madvise(data, unix.MADV_NOHUGEPAGE)
	}
	if err != nil {
		panic(err)
	}
	return data, func() { _ = unix.Munmap(data) }
}

// PodSync is how an fsync fares.
type PodSync struct {
	Begun, Over bool
	Error       string
}

// BeginSync has the kernel write what was written to both areas, and does not wait for it.
func (p *PodCalls) BeginSync(bool, *bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.synced = PodSync{Begun: true}
	go func() {
		err := errors.Join(p.areas[kept].Sync(), p.areas[late].Sync())
		p.mu.Lock()
		defer p.mu.Unlock()
		p.synced.Over = true
		if err != nil {
			p.synced.Error = err.Error()
		}
	}()
	return nil
}

// Synced tells what became of it.
func (p *PodCalls) Synced(_ bool, s *PodSync) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	*s = p.synced
	return nil
}

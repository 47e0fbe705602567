package mounttest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// State is what fsck finds.
type State int

// The states of an ext4.
const (
	Clean   State = iota
	Dirty         // preen repairs it
	Corrupt       // it takes an administrator
)

type disk struct {
	num       host.DevNum
	file      *os.File
	handles   int // open descriptors, of which exclusive
	exclusive int
	readOnly  bool
	dead      bool
	badBytes  []int64
	state     State
	journal   bool // its ext4 is mounted: the journal is in use
	errors    int  // that its ext4 has counted
	checked   bool // e2fsck -f since the last mount
	debris    bool // an mkfs was killed here and nothing was mounted since
}

// AddDisk makes an empty disk with the device node path.
func (k *Kernel) AddDisk(path string, num host.DevNum, size uint64) {
	backing := filepath.Join(k.dir, strings.ReplaceAll(path, "/", "_")+fmt.Sprintf("-%d-%d", num.Major, num.Minor))
	if err := os.WriteFile(backing, nil, 0o600); err != nil {
		k.t.Fatal(err)
	}
	if err := os.Truncate(backing, int64(size)); err != nil {
		k.t.Fatal(err)
	}
	k.AttachDisk(path, num, backing)
}

// AttachDisk makes a disk of a file, as a connect to its export does. The disk before it under
// that path, if any, is forgotten; it should be dead or detached.
func (k *Kernel) AttachDisk(path string, num host.DevNum, backing string) {
	file, err := os.OpenFile(backing, os.O_RDWR, 0)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { file.Close() })
	k.mu.Lock()
	defer k.mu.Unlock()
	k.disks[path] = &disk{num: num, file: file}
}

// InUse tells whether a disk is mounted or held by an exclusive open: the connector must not
// disconnect it then.
func (k *Kernel) InUse(path string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.disks[path]
	return d != nil && (d.exclusive > 0 || k.isMounted(d))
}

// DetachDisk takes away a disk that nobody uses.
func (k *Kernel) DetachDisk(path string) {
	if k.InUse(path) {
		k.t.Errorf("mounttest: %s is detached while it is in use", path)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if d := k.disks[path]; d != nil {
		d.dead = true
		delete(k.disks, path)
	}
}

// GrowDisk makes a disk larger.
func (k *Kernel) GrowDisk(path string, size uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.disks[path].file.Truncate(int64(size)); err != nil {
		k.t.Fatal(err)
	}
}

func (d *disk) size() uint64 {
	info, err := d.file.Stat()
	if err != nil {
		return 0
	}
	return uint64(info.Size())
}

func (d *disk) mounted(fsType string, writable bool) {
	d.debris, d.checked = false, false
	if fsType != "ext4" {
		d.state = Clean
		return
	}
	d.journal = d.journal || writable
	_ = d.setState(d.state)
}

func (d *disk) readAt(p []byte, off int64) (int, error) {
	bad := slices.ContainsFunc(d.badBytes, func(b int64) bool { return b >= off && b < off+int64(len(p)) })
	if d.dead || bad {
		return 0, unix.EIO
	}
	return d.file.ReadAt(p, off)
}

func (d *disk) writeAt(p []byte, off int64) (int, error) {
	if d.dead {
		return 0, unix.EIO
	}
	if d.readOnly {
		return 0, unix.EPERM
	}
	return d.file.WriteAt(p, off)
}

// Devices opens the disks of a Kernel.
type Devices struct{ k *Kernel }

// Open gives a disk, by its node or by a path the node is bound to.
func (s *Devices) Open(path string, exclusive, write bool) (host.Device, error) {
	s.k.wait("open", path)
	s.k.mu.Lock()
	defer s.k.mu.Unlock()
	d, err := s.k.diskAt(path)
	if err == nil && exclusive && (d.exclusive > 0 || s.k.isMounted(d)) {
		err = unix.EBUSY
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	d.handles++
	if exclusive {
		d.exclusive++
	}
	return &handle{k: s.k, disk: d, path: path, exclusive: exclusive, write: write}, nil
}

// SetReadOnly is BLKROSET.
func (s *Devices) SetReadOnly(path string, num host.DevNum, readOnly bool) error {
	s.k.mu.Lock()
	defer s.k.mu.Unlock()
	d, err := s.k.diskAt(path)
	if err == nil && d.num != num {
		err = fmt.Errorf("it is device %s, not %s", d.num, num)
	}
	if err != nil {
		return &os.PathError{Op: "BLKROSET", Path: path, Err: err}
	}
	d.readOnly = readOnly
	return nil
}

func (k *Kernel) diskAt(path string) (*disk, error) {
	if there, ok := k.top(path); ok {
		if there.FSType != devFS {
			return nil, unix.ENOTBLK
		}
		path = "/dev" + there.Root
	}
	d := k.disks[path]
	if d == nil || d.dead {
		if _, err := os.Stat(path); err == nil {
			return nil, unix.ENOTBLK
		}
		return nil, unix.ENOENT
	}
	return d, nil
}

type handle struct {
	k         *Kernel
	disk      *disk
	path      string
	exclusive bool
	write     bool
	closed    bool
}

func (h *handle) ReadAt(p []byte, off int64) (int, error) {
	h.k.wait("read", h.path)
	h.k.mu.Lock()
	defer h.k.mu.Unlock()
	if h.closed {
		return 0, os.ErrClosed
	}
	return h.disk.readAt(p, off)
}

func (h *handle) ReadEach(ranges []host.Range, look func(host.Range, []byte) error) error {
	for _, r := range ranges {
		if r.Off%host.BlockAlign != 0 || r.Len%host.BlockAlign != 0 && r.Off+r.Len != int64(h.disk.size()) {
			return unix.EINVAL // what O_DIRECT answers
		}
		data := make([]byte, r.Len)
		if _, err := h.ReadAt(data, r.Off); err != nil {
			return err
		}
		if err := look(r, data); err != nil {
			return err
		}
	}
	return nil
}

func (h *handle) WriteAt(p []byte, off int64) (int, error) {
	h.k.mu.Lock()
	defer h.k.mu.Unlock()
	switch {
	case h.closed:
		return 0, os.ErrClosed
	case !h.write:
		return 0, unix.EBADF
	case off+int64(len(p)) > int64(h.disk.size()):
		return 0, unix.ENOSPC
	}
	return h.disk.writeAt(p, off)
}

func (h *handle) Sync() error {
	h.k.mu.Lock()
	defer h.k.mu.Unlock()
	switch {
	case h.closed:
		return os.ErrClosed
	case h.disk.dead:
		return unix.EIO
	default:
		return nil
	}
}

func (h *handle) Info() (host.BlockInfo, error) {
	h.k.mu.Lock()
	defer h.k.mu.Unlock()
	if h.closed {
		return host.BlockInfo{}, os.ErrClosed
	}
	return host.BlockInfo{Num: h.disk.num, Size: h.disk.size(), ReadOnly: h.disk.readOnly}, nil
}

func (h *handle) Close() error {
	h.k.mu.Lock()
	defer h.k.mu.Unlock()
	if h.closed {
		return os.ErrClosed
	}
	h.closed = true
	h.disk.handles--
	if h.exclusive {
		h.disk.exclusive--
	}
	return nil
}

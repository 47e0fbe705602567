package mounttest

import (
	"slices"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// SetBusy makes the mounts at path busy, as an open file does, or not any more.
func (k *Kernel) SetBusy(path string, busy bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.busy[path] = busy
}

// Hang makes an operation wait in the kernel until release is called: "mount", "umount" and
// "statfs" of a path, "open" and "read" of a disk, or a tool by its name on its last argument. Of these only a
// tool comes back when its context ends: killed.
func (k *Kernel) Hang(operation, path string) (release func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	gate := make(chan struct{})
	k.hangs[operation+" "+path] = gate
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.hangs, operation+" "+path)
		close(gate)
	}
}

func (k *Kernel) wait(operation, path string) { <-k.gate(operation, path) }

// gate is closed when the operation may go on.
func (k *Kernel) gate(operation, path string) <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	if gate := k.hangs[operation+" "+path]; gate != nil {
		return gate
	}
	open := make(chan struct{})
	close(open)
	return open
}

// Pinned tells whether anybody keeps the disk's name and number from other disks: by an open
// descriptor or a mount.
func (k *Kernel) Pinned(path string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.disks[path]
	return d != nil && (d.handles > 0 || k.isMounted(d))
}

// Handles is how many descriptors of a disk are open.
func (k *Kernel) Handles(path string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	if d := k.disks[path]; d != nil {
		return d.handles
	}
	return 0
}

// KillDisk makes the disk die as a controller that is deleted does: its node goes, all I/O is EIO,
// its mounts stay.
func (k *Kernel) KillDisk(path string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.disks[path].dead = true
}

// FailReads makes every read of the disk that touches off fail with EIO. blkid answers 2 to that,
// as the real one does.
func (k *Kernel) FailReads(path string, off uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.disks[path].badBytes = append(k.disks[path].badBytes, int64(off))
}

// SetState makes the ext4 on a disk dirty or corrupt.
func (k *Kernel) SetState(path string, state State) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.disks[path].setState(state); err != nil {
		k.t.Error(err)
	}
}

// CountErrors makes the ext4 of a disk have met errors.
func (k *Kernel) CountErrors(path string, n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.disks[path].errors = n
}

// TurnReadOnly makes the file system mounted at path turn read-only by itself.
func (k *Kernel) TurnReadOnly(path string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	there, _ := k.top(path)
	for i, point := range k.table {
		if point.Dev == there.Dev {
			k.table[i].SuperOptions = append([]string{"ro"}, point.SuperOptions[1:]...)
		}
	}
}

// StartContainer copies what is mounted at path into a mount namespace of its own, until stop.
func (k *Kernel) StartContainer(path string) (stop func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	there, _ := k.top(path)
	k.copies = append(k.copies, there)
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		i := slices.IndexFunc(k.copies, func(p host.MountPoint) bool { return p.Dev == there.Dev && p.Path == there.Path })
		k.copies = slices.Delete(k.copies, i, i+1)
	}
}

// InterruptMkfs makes the next mkfs be killed when it has written half of its work.
func (k *Kernel) InterruptMkfs() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cut = true
}

// BreakTool makes every further run of a tool end with err, host.ErrNotInstalled for one; nil
// mends it.
func (k *Kernel) BreakTool(name string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.broken[name] = err
}

// DropSysResource takes CAP_SYS_RESOURCE away: a mounted ext4 can no longer grow.
func (k *Kernel) DropSysResource() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.weak = true
}

// SysResource tells whether CAP_SYS_RESOURCE is there.
func (k *Kernel) SysResource() (bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.weak, nil
}

// Calls are the tools that were run, each with its arguments, in order.
func (k *Kernel) Calls() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.calls)
}

package mounttest

import "slices"

// SetBusy makes the mounts at path busy, as an open file does, or not any more.
func (k *Kernel) SetBusy(path string, busy bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.busy[path] = busy
}

// Hang makes the operation ("umount", "statfs", "read") on path wait in the kernel until release
// is called. For read the path is that of the disk.
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

func (k *Kernel) wait(operation, path string) {
	k.mu.Lock()
	gate := k.hangs[operation+" "+path]
	k.mu.Unlock()
	if gate != nil {
		<-gate
	}
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
	k.disks[path].state = state
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

// Calls are the tools that were run, each with its arguments, in order.
func (k *Kernel) Calls() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.calls)
}

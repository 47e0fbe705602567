// Command losetup has the losetup of the node run in the node's own mount namespace. A loop device keeps the
// mount of its file, and /sys names the file as that mount has it: made in a pod, the name would change when the
// pod ends, and the driver would not find its device again. It stands first in PATH of the node plugin, which
// uses loop devices in tests only.
package main

import (
	"log"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

func main() {
	log.Fatal(run())
}

// run looks for the node's namespace beside the directory that this program is in.
func run() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	// A thread may change its mount namespace only if it shares no directory with another one (setns(2)).
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	namespace, err := os.Open(filepath.Join(filepath.Dir(self), "../node-proc/1/ns/mnt"))
	if err != nil {
		return err
	}
	if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNS); err != nil {
		return os.NewSyscallError("setns", err)
	}
	return os.NewSyscallError("execve losetup", unix.Exec("/usr/sbin/losetup", os.Args, os.Environ()))
}

package host

import (
	"os"

	"golang.org/x/sys/unix"
)

// HasSysResource tells whether this process has CAP_SYS_RESOURCE in its effective set.
func HasSysResource() (bool, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData // 32 capabilities each
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return false, os.NewSyscallError("capget", err)
	}
	return sets[unix.CAP_SYS_RESOURCE/32].Effective&(1<<(unix.CAP_SYS_RESOURCE%32)) != 0, nil
}

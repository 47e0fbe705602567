package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// How a volume of the demo reaches this machine.
const (
	pathAuto = "auto"
	pathNVMe = "nvme" // real NVMe/TCP: kernel target and kernel initiator
	pathLoop = "loop" // the array's file as a loop device; everything above it is real
	pathNone = "none" // the controller's half only
)

// dataPath is what was chosen, and what that leaves out.
type dataPath struct {
	name    string
	leftOut string // "" if nothing
	fsType  string
	online  bool // the file system can grow while it is mounted
}

func chooseDataPath(ctx context.Context, asked string) (dataPath, error) {
	noNVMe, noLoop := lacksForNVMe(ctx), lacksForLoop()
	switch asked {
	case pathAuto:
	case pathNVMe:
		if noNVMe != "" {
			return dataPath{}, usageError{fmt.Errorf("--data-path nvme: %s; use loop, none or auto", noNVMe)}
		}
	case pathLoop:
		if noLoop != "" {
			return dataPath{}, usageError{fmt.Errorf("--data-path loop: %s; use none or auto", noLoop)}
		}
		noNVMe = "--data-path says loop"
	case pathNone:
		noNVMe, noLoop = "--data-path says none", "--data-path says none"
	default:
		return dataPath{}, usageError{fmt.Errorf("--data-path %q: use auto, nvme, loop or none", asked)}
	}
	switch {
	case noNVMe == "":
		return withFilesystem(dataPath{name: pathNVMe}), nil
	case noLoop == "":
		return withFilesystem(dataPath{name: pathLoop, leftOut: "NVMe/TCP itself (" + noNVMe + "): the volume's file is attached as a loop device instead"}), nil
	default:
		return dataPath{name: pathNone, leftOut: "the node's half: connect, format, mount, write, measure (" + noLoop + ")"}, nil
	}
}

// withFilesystem picks one that can be grown here. The kernel lets ext4 grow online only with
// CAP_SYS_RESOURCE (fs/ext4/ioctl.c), which root in a container or small VM often lacks.
func withFilesystem(p dataPath) dataPath {
	p.fsType, p.online = "ext4", true
	if hasCapability(unix.CAP_SYS_RESOURCE) {
		return p
	}
	if lacksTools("mkfs.xfs", "xfs_growfs") == "" && kernelHas("xfs") {
		p.fsType = "xfs"
		return p
	}
	p.online = false
	p.leftOut = strings.TrimPrefix(p.leftOut+"; growth while mounted (no CAP_SYS_RESOURCE for ext4, and no xfs tools): it grows at the next stage", "; ")
	return p
}

func hasCapability(capability int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return false
	}
	return data[capability/32].Effective&(1<<(capability%32)) != 0
}

func kernelHas(fsType string) bool {
	data, err := os.ReadFile("/proc/filesystems")
	return err == nil && strings.Contains(string(data), "\t"+fsType+"\n")
}

func lacksForLoop() string {
	if why := lacksRoot(); why != "" {
		return why
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		return "this kernel has no loop devices"
	}
	return lacksTools("losetup", "mkfs.ext4", "blkid", "fsck.ext4")
}

func lacksRoot() string {
	if os.Geteuid() == 0 && hasCapability(unix.CAP_SYS_ADMIN) {
		return ""
	}
	name := "this user"
	if u, err := user.Current(); err == nil {
		name = "user " + u.Username
	}
	return name + " may not mount; run it as root"
}

func lacksForNVMe(ctx context.Context) string {
	if why := lacksForLoop(); why != "" {
		return why
	}
	runner := host.NewRunner()
	for _, module := range []string{"nvme-tcp", "nvmet-tcp"} {
		// Built-in modules need no modprobe, and without modprobe they may still be there: the files decide.
		_, _ = runner.Run(ctx, "modprobe", module)
	}
	if _, err := os.Stat("/dev/nvme-fabrics"); err != nil {
		return "this kernel has no NVMe/TCP initiator (/dev/nvme-fabrics is missing)"
	}
	if _, err := os.Stat("/sys/kernel/config/nvmet"); err != nil {
		return "this kernel has no NVMe/TCP target (/sys/kernel/config/nvmet is missing)"
	}
	return ""
}

func lacksTools(names ...string) string {
	for _, name := range names {
		if !installed(name) {
			return name + " is not installed"
		}
	}
	return ""
}

func installed(name string) bool {
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		info, err := os.Stat(filepath.Join(dir, name))
		if err == nil && info.Mode()&(fs.ModeDir|0o111) != 0 && !info.IsDir() {
			return true
		}
	}
	return false
}

// mountsBelow lists what is mounted below a directory.
func mountsBelow(dir string) ([]string, error) {
	table, err := host.NewMounts().Table()
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, m := range table {
		if strings.HasPrefix(m.Path, dir+"/") {
			paths = append(paths, m.Path)
		}
	}
	return paths, nil
}

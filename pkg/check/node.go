package check

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

func (r *Result) lookAtNode(context.Context) {
	r.kernel = kernelOf(r.config.Machine)
	if !r.config.Machine.Root() {
		r.found.skip("node", "this is not root, as the node plugin is: to look at a node run it there as root, or in the node plugin's pod")
		return
	}
	missing := Failed
	if !r.config.Machine.Exists(r.config.Kubelet) {
		missing = Warning
		r.found.skip("kubelet", "there is no %s, so this seems to be no node (--kubelet-dir names another directory): what is missing for one is only a warning", r.config.Kubelet)
	}
	r.lookAtNVMe(missing)
	r.lookAtFilesystems()
	r.lookAtKubelet()
	r.lookAtPrograms(missing)
}

const fabrics = "/dev/nvme-fabrics"

// NoSessions says why a machine cannot connect to a volume, "" where it can. portals is how many addresses are known.
func NoSessions(m Machine, portals int) string {
	r := &Result{config: Config{Machine: m}}
	r.kernel = kernelOf(m)
	switch {
	case portals == 0:
		return "no NVMe/TCP address is known"
	case !m.Root():
		return "only root can connect to a volume"
	case !m.Exists(fabrics) && !r.module("nvme-tcp"):
		return "this machine has no NVMe/TCP (" + fabrics + " is missing, and so is the module nvme-tcp)"
	default:
		return ""
	}
}

func kernelOf(m Machine) string {
	release, _ := m.Read("/proc/sys/kernel/osrelease") // unknown where it cannot be read
	return strings.TrimSpace(release)
}

func (r *Result) lookAtNVMe(missing Level) {
	const subject = "NVMe/TCP"
	switch {
	case r.config.Machine.Exists(fabrics):
		r.found.ok(subject, "%s is there", fabrics)
	case r.module("nvme-tcp"):
		r.found.ok(subject, "the module nvme-tcp is there for kernel %s and not loaded: the node plugin loads it", r.kernel)
	default:
		r.found.add(missing, subject, "install the kernel's modules (such as linux-modules-extra), and load nvme-tcp at boot (a line nvme-tcp in /etc/modules-load.d/); "+
			"in a container mount the host's /dev and /lib/modules",
			"%s is missing, and so is the module nvme-tcp in /lib/modules/%s: this machine cannot attach volumes", fabrics, r.kernel)
	}
}

// module tells whether a module can be loaded or is built in.
func (r *Result) module(name string) bool {
	file := strings.ReplaceAll(name, "-", "_") + ".ko"
	for _, list := range []string{"modules.dep", "modules.builtin"} {
		text, err := r.config.Machine.Read(filepath.Join("/lib/modules", r.kernel, list))
		if err != nil {
			continue
		}
		for line := range strings.Lines(text) {
			path, _, _ := strings.Cut(strings.TrimSpace(line), ":")
			base := strings.ReplaceAll(filepath.Base(path), "-", "_")
			if base == file || strings.HasPrefix(base, file+".") { // .ko.xz, .ko.zst
				return true
			}
		}
	}
	return false
}

func (r *Result) lookAtFilesystems() {
	const subject = "file systems"
	known, err := r.config.Machine.Read("/proc/filesystems")
	if err != nil {
		r.found.skip(subject, "the kernel does not tell which it has: %v", err)
		return
	}
	missing := slices.DeleteFunc([]string{"ext4", "xfs", "btrfs"}, func(fs string) bool {
		return slices.Contains(strings.Fields(known), fs) || r.module(fs)
	})
	if len(missing) > 0 {
		r.found.add(Warning, subject, "load the module, or use another csi.storage.k8s.io/fstype in the StorageClass", "the kernel has no %s", strings.Join(missing, " and no "))
		return
	}
	r.found.ok(subject, "the kernel has ext4, xfs and btrfs")
}

// lookAtKubelet: what the plugin mounts below kubelet's directory must show up in kubelet's own mount
// namespace, and in the pods'.
func (r *Result) lookAtKubelet() {
	const subject = "kubelet's directory"
	dir := filepath.Clean(r.config.Kubelet)
	if !r.config.Machine.Exists(dir) {
		return
	}
	table, err := r.config.Machine.Mounts()
	if err != nil {
		r.found.skip(subject, "the mount table cannot be read: %v", err)
		return
	}
	point, found := mountOf(table, dir)
	switch {
	case !found:
		r.found.skip(subject, "no mount holds %s", dir)
	case !point.Shared:
		r.found.add(Failed, subject, "in the node plugin's pod: mountPropagation: Bidirectional for this volume; on the node itself: mount --make-rshared "+point.Path,
			"%s lies on the mount %s, which is not shared: pods would not see their volumes", dir, point.Path)
	default:
		r.found.ok(subject, "%s lies on the shared mount %s", dir, point.Path)
	}
}

// mountOf is the mount that path lies on: the deepest, and of several at one path the last.
func mountOf(table []host.MountPoint, path string) (found host.MountPoint, ok bool) {
	for _, point := range table {
		inside := point.Path == "/" || path == point.Path || strings.HasPrefix(path, point.Path+"/")
		if inside && len(point.Path) >= len(found.Path) {
			found, ok = point, true
		}
	}
	return found, ok
}

// programs are what the node plugin runs.
var programs = []string{"modprobe", "blkid", "mkfs.ext4", "fsck.ext4", "resize2fs", "mkfs.xfs", "xfs_growfs", "mkfs.btrfs", "btrfs"}

func (r *Result) lookAtPrograms(level Level) {
	const subject = "programs"
	missing := slices.DeleteFunc(slices.Clone(programs), func(name string) bool { return r.config.Machine.Installed(name) == nil })
	if len(missing) > 0 {
		r.found.add(level, subject, "install kmod, util-linux, e2fsprogs, xfsprogs and btrfs-progs where the node plugin runs (its image has them)",
			"missing here: %s", strings.Join(missing, ", "))
		return
	}
	r.found.ok(subject, "%s are there", strings.Join(programs, ", "))
}

package main

// programs are what the driver runs on a node, and what must be in the image for that. A test compares
// them with the driver's source. nsenter is for the node's --dev-loop-dir in a pod: a loop device belongs to
// the mount namespace it was made in, which must outlive the pod.
func programs() []string {
	return []string{
		"blkid", "btrfs", "fsck.ext4", "losetup", "mkfs.btrfs", "mkfs.ext4", "mkfs.xfs", "modprobe", "resize2fs", "xfs_growfs",
	}
}

// packages are Debian's that these programs and their libraries are in. The list is explicit, not apt's
// closure: xfsprogs would bring Python and ICU for a program that the driver does not run. A library that is
// missing from it is found when the image is built.
func packages() []string {
	return []string{
		"btrfs-progs", "ca-certificates", "e2fsprogs", "kmod", "mount", "util-linux", "xfsprogs",
		"libblkid1", "libc6", "libcap2", "libcom-err2", "libedit2", "libext2fs2", "libgcc-s1", "libgcrypt20", "libgpg-error0",
		"libinih1", "libkmod2", "liblzma5", "liblzo2-2", "libmd0", "libbsd0", "libmount1", "libpcre2-8-0", "libselinux1",
		"libsmartcols1", "libss2", "libssl3", "libtinfo6", "libudev1", "liburcu8", "libuuid1", "libzstd1", "zlib1g",
	}
}

// libraries are those that no program names as needed: glibc loads libgcc_s when a thread is cancelled.
func libraries() []string { return []string{"libgcc_s.so.1"} }

// settings are files that the programs read; without mke2fs.conf mkfs.ext4 has other defaults.
func settings() []string { return []string{"etc/mke2fs.conf"} }

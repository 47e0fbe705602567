// Package host is where the driver touches the machine it runs on: programs (the only
// importer of os/exec), mount(2) and umount2(2), block devices, file system sizes, sysfs
// and /dev/nvme-fabrics, and logind's word that the machine shuts down. It decides nothing:
// pkg/nvme, pkg/mount and pkg/reconcile do, through narrow interfaces of their own that the
// types here fit and that strict fakes can stand in for.
//
// Nothing here forces, detaches lazily or retries, but for a lost connection to the system
// bus. Errors are those of the kernel with what was tried in front; errors.Is finds the errno.
package host

// Package host is where the driver touches the machine it runs on: programs (the only
// importer of os/exec), mount(2) and umount2(2), block devices, file system sizes, sysfs
// and /dev/nvme-fabrics. It decides nothing: pkg/nvme and pkg/mount do, through narrow
// interfaces of their own that the types here fit and that strict fakes can stand in for.
//
// Nothing here forces, detaches lazily or retries. Errors are those of the kernel with
// what was tried in front; errors.Is finds the errno.
package host

// Package mounttest is a strict stand-in for the part of a machine that pkg/mount works on, and
// the behaviour tests that run over it and over a real kernel (RunContract). A fake that lets pass
// what the kernel refuses is a bug in the fake.
//
// Disks are sparse files with the claims of O_EXCL, the mount table is in memory, and the tools
// write and read superblocks in those files: what one of them did the others see. mkfs fails the
// test when there is data on the disk that no interrupted mkfs has left.
package mounttest

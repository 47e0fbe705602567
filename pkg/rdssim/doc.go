// Package rdssim is a simulated MikroTik storage array: RouterOS 7 with the
// rose-storage package, as seen from its SSH console and from an NVMe/TCP
// host. It shares no code with the driver, so that neither can hide the
// other's mistakes.
//
// It is strict: what the real array refuses it refuses, in the same words
// where they are known. Menus, commands and arguments are gated by release.
// Errors are text on standard output, the exit status means little, human
// tables round, "remove" leaves the backing file. Where nobody has published
// what the real array does, the choice made here is marked "assumed".
//
// Volumes are real sparse files below the state directory. Faults are injected
// from code or over HTTP (see Fault).
package rdssim

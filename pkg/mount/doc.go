// Package mount is what the node does with a block device once pkg/nvme has verified it:
// find or make the file system, check, mount, publish, grow, measure, unmount.
//
// The rules come from design.md §6. The ones that lose data when broken:
//
//   - mkfs runs only on proof that the device is blank (format.go). What cannot be read, what
//     is not zero, what somebody holds, what may be another device: refused.
//   - Decisions come from mountinfo, device numbers and bytes read, never from a tool's text.
//   - Path and number of a device are given to the next one when it goes. Whose it is the connector
//     is asked (Alive) while a descriptor or a mount holds it, before anything is done to it, and
//     after it was mounted.
//   - Nothing is mounted twice: what is there already is verified, or refused.
//   - Nothing is detached lazily, forced, or removed with its contents.
//   - A call never outlives its context: what hangs in the kernel goes on in one goroutine for
//     that path or device, and the next call waits for it before it does anything there. So does
//     a growth that must not be interrupted (offline.go). Nothing is mounted after the call ended.
package mount

// Package nvme is the host's side of NVMe/TCP: it makes a controller by /dev/nvme-fabrics,
// finds its block device in sysfs, proves that the device is the one that was asked for, and
// takes the controller down again, never while something uses the device.
//
// Nothing is derived from a device's name and nothing is read from a tool's text: a volume is
// known by its exact NQN and our host NQN, a device by its number (facts/nvme.md §1.4, §4).
//
// Host is the real thing. Loop attaches the simulated array's own files as loop devices: for
// development on kernels without NVMe/TCP.
package nvme

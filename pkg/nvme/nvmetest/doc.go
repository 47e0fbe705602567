// Package nvmetest holds a strict fake of what the kernel shows of NVMe/TCP, and the contract
// suite that every connector passes, over the fake and over the real kernel alike.
//
// The fake refuses what the kernel refuses, with the same errno (facts/nvme.md §1.2), and lays
// out sysfs as Linux 6.1 was seen to do (facts/vm.md "What the kernel did"), numbers that
// disagree included.
package nvmetest

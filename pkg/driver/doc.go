// Package driver is the CSI services, and the gRPC server they run in. It translates: what
// CSI asks into what pkg/rds, pkg/nvme and pkg/mount do, and their errors into gRPC codes
// (status.go). It is the only package that knows CSI.
package driver

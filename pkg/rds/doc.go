// Package rds is the storage array as the driver sees it: volumes (file-backed disks),
// their exports over NVMe/TCP with a host ACL, pools and capacity.
//
// The array is the only truth: nothing is cached but the version it last told. Verbs are
// idempotent: "already so" is success, "differently so" is an error that explains the
// difference. Sizes are bytes, exactly, both ways. What the driver must remember of a
// volume stands in the comment of its item (Record).
package rds

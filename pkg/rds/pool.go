package rds

import (
	"cmp"
	"context"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// reservePercent of a pool stays free: Btrfs needs some 5-10 % to work well (facts/routeros.md §2).
const reservePercent = 10

// Pool is a file system of the array that volumes lie in. All sizes are bytes.
type Pool struct {
	MountPoint  string // as the array shows it, without a leading slash
	FS          string
	Label       string
	Size, Free  uint64
	Provisioned uint64 // sum of the sizes of all file disks in it
}

// Available is what new volumes may take: nothing is promised twice, and the reserve is kept.
func (p Pool) Available() uint64 {
	reserve := p.Size - p.Size/100*(100-reservePercent)
	room := min(p.Free, subtract(p.Size, p.Provisioned))
	return subtract(room, reserve)
}

// roomFor is NoSpace, with the figures, where a pool cannot take bytes more.
func (p Pool) roomFor(bytes uint64) error {
	if available := p.Available(); bytes > available {
		return fault.Errorf("", fault.NoSpace, "%d bytes wanted, %d available in pool %s (size %d, free %d, provisioned %d, reserve %d %%)",
			bytes, available, p.MountPoint, p.Size, p.Free, p.Provisioned, reservePercent)
	}
	return nil
}

// explain says how much room there was, where the array only says that there is none.
func (p Pool) explain(err error, wanted uint64) error {
	if fault.KindOf(err) != fault.NoSpace {
		return err
	}
	return fault.Errorf("", fault.NoSpace, "%d bytes wanted, %d free in pool %s: %w", wanted, p.Free, p.MountPoint, err)
}

func subtract(a, b uint64) uint64 {
	if b > a {
		return 0
	}
	return a - b
}

// Pool tells a pool's capacity; name "" means the default pool.
func (a *Array) Pool(ctx context.Context, name string) (Pool, error) {
	name, err := a.poolName(name)
	if err != nil {
		return Pool{}, err
	}
	reply, err := a.run(ctx, telemetry.CommandPoolGet, poolScript(name))
	if err != nil {
		return Pool{}, fault.Wrap("look at pool "+name, err)
	}
	pool, err := poolOf(reply, name)
	return pool, fault.Wrap("look at pool "+name, err)
}

// poolName is the mount point that is meant. Without one nothing may be asked: an empty mount point
// matches every disk that is mounted nowhere.
func (a *Array) poolName(name string) (string, error) {
	if name = cmp.Or(strings.Trim(name, "/"), a.pool); name == "" {
		return "", fault.Errorf("pool", fault.Invalid, "is missing: give the StorageClass parameter pool or --rds-pool, a mount point as /disk print shows it")
	}
	return name, nil
}

// poolOf reads the reply of a poolScript.
func poolOf(reply *routeros.Reply, name string) (Pool, error) {
	rows, err := reply.Rows("pool")
	if err != nil {
		return Pool{}, err
	}
	if len(rows) != 1 {
		return Pool{}, fault.Errorf("", fault.Invalid, "the array has %d disks mounted at %q, not one; --rds-pool and the StorageClass parameter pool take a mount point as /disk print shows it", len(rows), name)
	}
	pool := Pool{MountPoint: name, FS: rows[0].String("fs"), Label: rows[0].String("fs-label")}
	if pool.Size, err = rows[0].Bytes("size"); err != nil {
		return Pool{}, fault.E("read its size", fault.Internal, err)
	}
	if pool.Free, err = rows[0].Bytes("free"); err != nil {
		return Pool{}, fault.E("read its free space", fault.Internal, err)
	}
	if rows[0].Has("mounted") && !rows[0].Bool("mounted") {
		return Pool{}, fault.Errorf("", fault.Unavailable, "it is not mounted")
	}
	pool.Provisioned, err = provisioned(reply, name)
	return pool, err
}

func provisioned(reply *routeros.Reply, pool string) (uint64, error) {
	rows, err := reply.Rows("vol")
	if err != nil {
		return 0, err
	}
	var sum uint64
	for _, row := range rows {
		if !strings.HasPrefix(strings.TrimPrefix(row.String("file-path"), "/"), pool+"/") {
			continue
		}
		size, err := row.Bytes("size")
		if err != nil {
			return 0, fault.E("read the size of disk "+row.String("slot"), fault.Internal, err)
		}
		sum += size
	}
	return sum, nil
}

package rds

import (
	"context"
	"errors"
	"slices"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// Figures say how full the array is.
type Figures struct {
	Pools   []Pool   // the default pool and those that the cluster's volumes lie in, by mount point
	Volumes []Volume // of the cluster, by slot
}

// Figures asks for all of them. Beside an error there are those of the pools that could be told. It changes
// nothing.
func (a *Array) Figures(ctx context.Context) (Figures, error) {
	const op = "ask the array how full it is"
	volumes, err := a.List(ctx)
	if err != nil {
		return Figures{}, fault.Wrap(op, err)
	}
	volumes = slices.DeleteFunc(volumes, func(v Volume) bool { return !a.Marked(v) })
	f, failed := Figures{Volumes: volumes}, []error{}
	for _, name := range a.poolsOf(volumes) {
		pool, err := a.Pool(ctx, name)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		f.Pools = append(f.Pools, pool)
	}
	if len(failed) > 0 {
		return f, fault.Wrap(op, errors.Join(failed...))
	}
	return f, nil
}

// poolsOf are the default pool and those of volumes, each once. A file that lies where no volume of the
// driver's own form does tells no pool.
func (a *Array) poolsOf(volumes []Volume) []string {
	names := []string{a.pool}
	for _, v := range volumes {
		names = append(names, v.Pool())
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool { return name == "" })
}

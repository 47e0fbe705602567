package rds

import (
	"cmp"
	"context"
	"slices"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// Get shows one volume. NotFound is the array's positive answer that it has none.
func (a *Array) Get(ctx context.Context, slot string) (Volume, error) {
	reply, err := a.run(ctx, telemetry.CommandDiskGet, getScript(slot))
	if err != nil {
		return Volume{}, fault.Wrap("look at volume "+slot, err)
	}
	v, err := theVolume(reply, slot)
	return v, fault.Wrap("look at volume "+slot, err)
}

// List shows the volumes of the cluster and those that no driver made, sorted by slot.
func (a *Array) List(ctx context.Context) ([]Volume, error) {
	reply, err := a.run(ctx, telemetry.CommandDiskList, listScript)
	if err != nil {
		return nil, fault.Wrap("list volumes", err)
	}
	rows, err := reply.Rows("row")
	if err != nil {
		return nil, fault.Wrap("list volumes", err)
	}
	return a.mine(rows)
}

func (a *Array) mine(rows []routeros.Item) ([]Volume, error) {
	volumes := make([]Volume, 0, len(rows))
	for _, row := range rows {
		v, err := volumeOf(row)
		if err != nil {
			return nil, fault.Wrap("list volumes", err)
		}
		if v.Marked(a.cluster) || v.Foreign() {
			volumes = append(volumes, v)
		}
	}
	slices.SortFunc(volumes, func(x, y Volume) int { return cmp.Compare(x.Slot, y.Slot) })
	return volumes, nil
}

// Marked tells whether v was made by the driver for this array's cluster.
func (a *Array) Marked(v Volume) bool { return v.Marked(a.cluster) }

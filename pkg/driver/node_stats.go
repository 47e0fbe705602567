package driver

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
)

func (n *node) NodeGetVolumeStats(ctx context.Context, req *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, invalid("volume_id", "is missing")
	}
	r, dev, err := n.inUse(ctx, req.GetVolumeId(), "volume_path", req.GetVolumePath())
	if err != nil {
		return nil, err
	}
	if r.Block {
		return &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{{Unit: csi.VolumeUsage_BYTES, Total: int64(dev.Size)}}}, nil
	}
	stats, err := n.cfg.Mounter.Stats(ctx, req.GetVolumePath())
	if err != nil {
		return nil, fault.Wrap("measure volume "+r.VolumeID, err)
	}
	return &csi.NodeGetVolumeStatsResponse{Usage: usage(stats)}, nil
}

func usage(s host.FSStats) []*csi.VolumeUsage {
	return []*csi.VolumeUsage{
		{Unit: csi.VolumeUsage_BYTES, Total: int64(s.TotalBytes), Available: int64(s.AvailableBytes), Used: int64(s.UsedBytes)},
		{Unit: csi.VolumeUsage_INODES, Total: int64(s.TotalInodes), Available: int64(s.FreeInodes), Used: int64(s.UsedInodes)},
	}
}

// inUse finds a volume that is mounted at one of its paths, and its live device. Asking a mount
// whose device is away would hang, so the device is looked at first.
func (n *node) inUse(ctx context.Context, id, field, path string) (*stage.Record, nvme.Device, error) {
	if path == "" {
		return nil, nvme.Device{}, invalid(field, "is missing")
	}
	r, err := n.record(id)
	if err != nil {
		return nil, nvme.Device{}, err
	}
	_, published := r.Target(path)
	if !published && path != r.StagingPath {
		return nil, nvme.Device{}, fault.Errorf(field, fault.NotFound, "volume %s is not at %s", r.VolumeID, path)
	}
	at, mounted, err := n.cfg.Mounter.At(path)
	if err != nil {
		return nil, nvme.Device{}, err
	}
	if !mounted && !(r.Block && path == r.StagingPath) {
		return nil, nvme.Device{}, fault.Errorf(field, fault.NotFound, "nothing is mounted at %s", path)
	}
	dev, err := n.device(ctx, r)
	if err != nil {
		return nil, nvme.Device{}, fault.Wrap("volume "+r.VolumeID, err)
	}
	if !r.Block && at.Dev != dev.Num {
		return nil, nvme.Device{}, fault.Errorf("volume "+r.VolumeID, fault.StaleMount, "%s is mounted from device %s, but the volume is now device %s; unstage and stage it again", path, at.Dev, dev.Num)
	}
	return r, dev, nil
}

func (n *node) NodeExpandVolume(ctx context.Context, req *csi.NodeExpandVolumeRequest) (*csi.NodeExpandVolumeResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, invalid("volume_id", "is missing")
	}
	r, dev, err := n.inUse(ctx, req.GetVolumeId(), "volume_path", req.GetVolumePath())
	if err != nil {
		return nil, err
	}
	if req.GetCapacityRange().GetRequiredBytes() < 0 || req.GetCapacityRange().GetLimitBytes() < 0 {
		return nil, invalid("capacity_range", "is negative")
	}
	before := dev.Size
	dev, err = n.connectorOf(r).Rescan(ctx, r.NQN, r.HostNQN, uint64(req.GetCapacityRange().GetRequiredBytes()))
	if err != nil {
		return nil, fault.Wrap("expand volume "+r.VolumeID, err)
	}
	filled, err := n.fill(ctx, r, dev)
	if err != nil {
		return nil, fault.Wrap("expand volume "+r.VolumeID, err)
	}
	if filled && dev.Size == before {
		noop(ctx)
	}
	return &csi.NodeExpandVolumeResponse{CapacityBytes: int64(dev.Size)}, nil
}

// fill makes the file system as large as its device; a repeat if it is.
func (n *node) fill(ctx context.Context, r *stage.Record, dev nvme.Device) (repeat bool, err error) {
	if r.Block {
		return true, nil
	}
	return n.cfg.Mounter.Grow(ctx, mount.GrowRequest{
		Device: dev.Path, Num: dev.Num, Mountpoint: r.StagingPath, FSType: r.FSType,
		Live: func(ctx context.Context) error { return n.alive(ctx, r, dev, dev.Size) },
	})
}

package driver

import (
	"slices"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
)

// ours tells which mounts at a path of the volume may be taken down.
func (n *node) ours(r *stage.Record) func(host.MountPoint) bool { return n.oursAt(r.VolumeID, r) }

// oursAt is ours for a volume whose record, if there is one, is r. A mount of the volume's own device
// is ours, and so is any device node bound at a path of it: the number of one that is gone may have been
// given to another volume since. One of a device that is gone or not known is taken for ours too, since
// the path is the volume's, but not if another volume's record of this boot speaks for it, and only of a
// kind that we mount.
func (n *node) oursAt(volumeID string, r *stage.Record) func(host.MountPoint) bool {
	return func(m host.MountPoint) bool {
		num := m.Device()
		_, node := m.Node()
		if mount.IsCover(m) || r != nil && (num.String() == r.DevNum || node && r.Block && claims(r, m.Path)) {
			return true
		}
		if num == m.Dev && !slices.Contains(supportedFS(), m.FSType) {
			return false
		}
		others, err := n.cfg.Records.List()
		if err != nil && (r == nil || !claims(r, m.Path)) {
			n.driver.cfg.Log.Error("whether another volume is mounted at "+m.Path+" cannot be told: a stage record cannot be read", zap.Error(err))
			return false
		}
		return !slices.ContainsFunc(others, func(o *stage.Record) bool {
			return o.VolumeID != volumeID && o.BootID == n.cfg.BootID && (o.DevNum == num.String() || claims(o, m.Path))
		})
	}
}

// claims tells whether path is one of the record's.
func claims(r *stage.Record, path string) bool {
	_, target := r.Target(path)
	return target || r.StagingPath == path
}

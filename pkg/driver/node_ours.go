package driver

import (
	"slices"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
)

// ours tells which mounts at a path of the volume may be taken down.
func (n *node) ours(r *stage.Record) func(host.MountPoint) bool { return n.oursAt(r.VolumeID, r) }

// oursAt is ours for a volume whose record, if there is one, is r. A mount of the volume's own device
// is ours. One of a device that is gone or not known is taken for ours too, since the path is the
// volume's, but not if another volume's record speaks for it, and only of a kind that we mount.
func (n *node) oursAt(volumeID string, r *stage.Record) func(host.MountPoint) bool {
	return func(m host.MountPoint) bool {
		num := m.Device()
		if r != nil && num.String() == r.DevNum {
			return true
		}
		if num == m.Dev && !slices.Contains(supportedFS(), m.FSType) {
			return false
		}
		others, err := n.cfg.Records.List()
		if err != nil {
			return false // unknown
		}
		return !slices.ContainsFunc(others, func(o *stage.Record) bool {
			return o.VolumeID != volumeID && (o.DevNum == num.String() || claims(o, m.Path))
		})
	}
}

// claims tells whether path is one of the record's.
func claims(r *stage.Record, path string) bool {
	_, target := r.Target(path)
	return target || r.StagingPath == path
}

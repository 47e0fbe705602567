package mount

import (
	"context"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// coverSource is the source of a cover in the mount table.
const coverSource = "rds-csi-volume-away"

// IsCover tells the empty, read-only file system that stands at a publish path whose volume is to come
// back: a container that starts meanwhile must not write to the directory below, which is this machine's.
func IsCover(at host.MountPoint) bool { return at.FSType == "tmpfs" && at.Source == coverSource }

// cover mounts a cover where nothing is mounted.
func (m *Mounter) cover(path string) error {
	_, found, err := m.At(path)
	if found || err != nil {
		return err
	}
	err = m.kernel.Mount(coverSource, path, "tmpfs", []string{"ro", "size=4k", "nr_inodes=2", "mode=0555"})
	return fault.E("cover "+path+", which lacks its volume", fault.Unavailable, err)
}

// coverAll covers publish paths in place of what is mounted there.
func (m *Mounter) coverAll(ctx context.Context, r Recovery, publications []Publication) error {
	for _, p := range publications {
		if err := timeToSwap(ctx); err != nil {
			return err
		}
		if err := m.takeDownWhole(ctx, p.Path, r.Ours); err != nil {
			return err
		}
		if err := m.cover(p.Path); err != nil {
			return err
		}
	}
	return nil
}

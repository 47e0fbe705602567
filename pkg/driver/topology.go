package driver

import (
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// topology is the one segment of the array: every node that runs this driver for it can reach it. It is never
// probed, as the node affinity of a PersistentVolume cannot be changed later (design.md §5).
func (d *Driver) topology() *csi.Topology {
	return &csi.Topology{Segments: map[string]string{d.cfg.Name + "/array-" + d.cfg.ArrayName: yes}}
}

// reaches tells whether a volume of the array is accessible from t.
func (d *Driver) reaches(t *csi.Topology) bool {
	ours := d.topology().GetSegments()
	for key, value := range t.GetSegments() {
		if ours[key] != value {
			return false
		}
	}
	return true
}

// checkTopology refuses a volume that has to be accessible from where this array is not.
func (d *Driver) checkTopology(r *csi.TopologyRequirement) error {
	if wanted := r.GetRequisite(); len(wanted) > 0 && !slices.ContainsFunc(wanted, d.reaches) {
		return fault.Errorf("accessibility_requirements", fault.NoSpace, "array %q is accessible from %v, and none of the topologies asked for is that; "+
			"does the node plugin there have the same --array-name and --driver-name?", d.cfg.ArrayName, d.topology().GetSegments())
	}
	return nil
}

package driver

import (
	"regexp"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// maxID is the CSI size limit of a string field, in bytes.
const maxID = 128

// validID is what array names and slots are made of. What is not of this form cannot be a
// volume, and never reaches the array.
var validID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// volumeID is "<array>/<slot>"; the short form "<slot>" means the default array.
type volumeID struct {
	Array, Slot string
}

func (v volumeID) String() string { return v.Array + "/" + v.Slot }

// parseVolumeID brings an id to its one form. An id that cannot be a volume's is NotFound: to
// CSI that is what it is.
func (d *Driver) parseVolumeID(id string) (volumeID, error) {
	if id == "" {
		return volumeID{}, invalid("volume_id", "is missing")
	}
	v := volumeID{Array: d.cfg.ArrayName, Slot: id}
	if array, slot, ok := strings.Cut(id, "/"); ok {
		v = volumeID{Array: array, Slot: slot}
	}
	if len(id) > maxID || !validID.MatchString(v.Array) || !validID.MatchString(v.Slot) {
		return volumeID{}, fault.Errorf("volume_id", fault.NotFound, "%.140q is no volume id (<array>/<slot>)", id)
	}
	return v, nil
}

// slotOf is the slot of a volume on the array that is configured. One on another array is a
// Precondition rather than NotFound, since it may well exist.
func (d *Driver) slotOf(id string) (string, error) {
	v, err := d.parseVolumeID(id)
	if err != nil {
		return "", err
	}
	if v.Array != d.cfg.ArrayName {
		return "", fault.Errorf("volume_id", fault.Precondition, "array %q is not configured here (--array-name is %q)", v.Array, d.cfg.ArrayName)
	}
	return v.Slot, nil
}

package host

import (
	"fmt"
	"strconv"
	"strings"
)

// DevNum is a block device's number. Names of devices change, the number of an open or
// mounted device does not.
type DevNum struct {
	Major, Minor uint32
}

// ParseDevNum reads "major:minor" as sysfs and mountinfo write it.
func ParseDevNum(s string) (DevNum, error) {
	majorText, minorText, ok := strings.Cut(strings.TrimSpace(s), ":")
	if !ok {
		return DevNum{}, fmt.Errorf("device number %q is not major:minor", s)
	}
	major, err := strconv.ParseUint(majorText, 10, 32)
	if err != nil {
		return DevNum{}, fmt.Errorf("device number %q: %w", s, err)
	}
	minor, err := strconv.ParseUint(minorText, 10, 32)
	if err != nil {
		return DevNum{}, fmt.Errorf("device number %q: %w", s, err)
	}
	return DevNum{Major: uint32(major), Minor: uint32(minor)}, nil
}

func (n DevNum) String() string { return fmt.Sprintf("%d:%d", n.Major, n.Minor) }

// IsZero tells that no device is meant.
func (n DevNum) IsZero() bool { return n == DevNum{} }

package rds

import (
	"regexp"
	"strconv"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// The first release with nvme-tcp-server-nqn (facts/routeros.md §0.1). Without it an export
// has no name of its own, and so no fence token.
const (
	needMajor = 7
	needMinor = 21
)

var release = regexp.MustCompile(`^(\d+)\.(\d+)`)

// supported is nil for a RouterOS version ("7.24.4 (stable)") that the driver can work with.
func supported(version string) error {
	m := release.FindStringSubmatch(version)
	if m == nil {
		return fault.Errorf("", fault.Precondition, "the array says its RouterOS version is %q, which is no version; %d.%d or newer is needed", version, needMajor, needMinor)
	}
	major, majorErr := strconv.Atoi(m[1])
	minor, minorErr := strconv.Atoi(m[2])
	if majorErr != nil || minorErr != nil || major < needMajor || (major == needMajor && minor < needMinor) {
		return fault.Errorf("", fault.Precondition, "the array runs RouterOS %s; %d.%d or newer is needed (/system/package/update)", version, needMajor, needMinor)
	}
	return nil
}

package mount

import (
	"regexp"
	"slices"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// denied are the mount options that lose data or reach beyond the volume, with what to say. A
// name ending in "=" stands for the option with any value.
var denied = map[string]string{
	"errors=continue": "it goes on writing to a file system that is known to be damaged",
	"errors=panic":    "it takes the whole node down",
	"nobarrier":       "it loses acknowledged writes when power fails",
	"barrier=0":       "it loses acknowledged writes when power fails",
	"norecovery":      "it shows a file system without its journal; the driver sets it where the device is read-only",
	"noload":          "it shows a file system without its journal; the driver sets it where the device is read-only",
	"nologreplay":     "it shows a file system without its log",
	"rescue=":         "it is for salvaging a damaged file system by hand",
	"sb=":             "it picks a superblock by hand",
	"journal_dev=":    "it brings in another device",
	"journal_path=":   "it brings in another device",
	"logdev=":         "it brings in another device",
	"rtdev=":          "it brings in another device",
	"device=":         "it brings in another device",
	"subvol=":         "the driver mounts whole file systems",
	"subvolid=":       "the driver mounts whole file systems",
	"loop":            "the volume is a device already",
	"loop=":           "the volume is a device already",
	"offset=":         "the volume is a device already",
	"bind":            changesMount,
	"rbind":           changesMount,
	"move":            changesMount,
	"remount":         changesMount,
	"shared":          changesMount,
	"rshared":         changesMount,
	"slave":           changesMount,
	"rslave":          changesMount,
	"private":         changesMount,
	"rprivate":        changesMount,
	"unbindable":      changesMount,
	"runbindable":     changesMount,
}

const changesMount = "it changes what kind of mount is made; the driver decides that"

// forMountOnly are options that mount(8) and systemd read and no kernel knows.
var forMountOnly = []string{"_netdev", "nofail", "auto", "noauto", "defaults"}

// plainOption is an option without anything that could make two of it. Only a SELinux context may
// hold commas, within quotes and before categories (s0:c1,c2).
var plainOption = regexp.MustCompile(`^([!#-+\--~]+|(fs|def|root)?context="[A-Za-z0-9_:.-]+(,c[0-9.c]+)*")$`)

// splitOptions checks the options of a request, drops what is not for the kernel, and takes
// ro and rw out: readOnly is what was asked by the request or by "ro".
func splitOptions(op string, asked []string, readOnly bool) (options []string, ro bool, err error) {
	if slices.Contains(asked, "rw") && (readOnly || slices.Contains(asked, "ro")) {
		return nil, false, fault.Errorf(op, fault.Invalid, "mount options: rw is asked for what shall be read-only")
	}
	for _, option := range asked {
		if err := checkOption(op, option); err != nil {
			return nil, false, err
		}
		switch {
		case option == "ro":
			readOnly = true
		case option == "rw", slices.Contains(forMountOnly, option), strings.HasPrefix(option, "x-"):
		default:
			options = append(options, option)
		}
	}
	return options, readOnly, nil
}

func checkOption(op, option string) error {
	if !plainOption.MatchString(option) {
		return fault.Errorf(op, fault.Invalid, "mount option %q: one option each, without commas, blanks or control characters", option)
	}
	name, _, hasValue := strings.Cut(option, "=")
	if hasValue {
		name += "="
	}
	for _, key := range []string{option, name} {
		if why, ok := denied[key]; ok {
			return fault.Errorf(op, fault.Invalid, "mount option %q is not allowed: %s", option, why)
		}
	}
	return nil
}

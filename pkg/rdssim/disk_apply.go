package rdssim

import (
	"slices"
	"strconv"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim/script"
)

// apply takes the arguments of add or set over to a disk. before is nil for a
// new one.
func (a *Array) apply(d *disk, call *script.Call, before *disk) error {
	names := make([]string, 0, len(call.Args))
	for name := range call.Args {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := a.applyOne(d, name, script.Text(call.Args[name]), before); err != nil {
			return err
		}
	}
	if d.Type != "file" && d.exported() {
		return script.Errorf("could not unmount, stop using it first")
	}
	if d.Set["compress"] == "yes" {
		return script.Errorf("compression only available for btrfs")
	}
	return nil
}

func (a *Array) applyOne(d *disk, name, text string, before *disk) error {
	switch name {
	case "numbers":
		return nil
	case "type":
		if text != d.Type {
			return script.Errorf("failure: type can not be changed")
		}
		return nil
	case "slot":
		return applySlot(d, text)
	case "file-path":
		return applyPath(d, text)
	case "file-size":
		return a.applySize(d, text, before)
	}
	if _, known := diskDefaults[name]; !known {
		return script.Errorf("failure: the simulated array does not know argument %s", name)
	}
	value, err := canonical(name, text)
	if err == nil {
		value, err = a.opts.accepted(name, value, d.Set[name])
	}
	if err != nil {
		return err
	}
	d.Set[name] = value
	return nil
}

// applySlot: a pool's slot is its mount point, renaming one is not simulated.
func applySlot(d *disk, text string) error {
	if text == "" || len(text) > maxSlot {
		return script.Errorf("value of slot must be 1..%d characters", maxSlot) // assumed
	}
	if d.Type != "file" && text != d.Slot {
		return script.Errorf("could not unmount, stop using it first")
	}
	d.Slot = text
	return nil
}

func applyPath(d *disk, text string) error {
	name, ok := cleanName(text)
	if !ok || d.Type != "file" {
		return script.Errorf("invalid value for argument file-path")
	}
	if name != d.File {
		return script.Errorf("failure: file-path can not be changed") // assumed
	}
	return nil
}

func (a *Array) applySize(d *disk, text string, before *disk) error {
	if before == nil || text == "auto" {
		return nil
	}
	size, ok := a.opts.sizeAsked(text)
	if !ok || size == 0 || d.Type != "file" {
		return script.Errorf("invalid value for argument file-size")
	}
	d.Size = size
	return nil
}

// canonical checks a value by the type of its default and spells it as the
// array does.
func canonical(name, text string) (string, error) {
	if _, boolean := script.Bool(diskDefaults[name]); boolean {
		value, ok := script.Bool(text)
		switch {
		case !ok:
			return "", script.Errorf("input does not match any value of %s", name)
		case value && name == "disabled":
			return "", script.Errorf("failure: the simulated array does not disable disks")
		case value:
			return "yes", nil
		}
		return "no", nil
	}
	switch name {
	case "nvme-tcp-server-port":
		if n, err := strconv.Atoi(text); err != nil || n < 1 || n > 65535 {
			return "", script.Errorf("invalid value for argument %s", name)
		}
	case "nvme-tcp-server-nqn":
		// 223 bytes is NVMe's limit; a slash could not name a file in exports.
		if len(text) > 223 || strings.ContainsAny(text, "/\x00") || text == "." || text == ".." {
			return "", script.Errorf("invalid value for argument %s", name)
		}
	case "file-offset":
		if n, ok := parseSize(text); !ok || n != 0 {
			return "", script.Errorf("failure: chunk out of file bounds")
		}
	}
	return text, nil
}

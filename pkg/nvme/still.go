package nvme

import (
	"context"
	"path/filepath"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// Still is nil while d, a device that Connect or Find gave, is that of the NQN and host NQN, no smaller, and
// behind a live controller. The caller holds the node open, and has compared its number: no other device can
// get that meanwhile (facts/nvme.md §4 rule 1). It proves what Find proves, but of a multipath head it only has
// to look where that was, and not through all controllers.
func (h *Host) Still(ctx context.Context, nqn, hostNQN string, d Device) error {
	if err := wanted(ctx, nqn); err != nil {
		return err
	}
	if h.tree.shows(d, nqn, hostNQN) {
		return nil
	}
	now, err := h.Find(ctx, nqn, hostNQN) // by another path, or it says what is wrong
	return stillSame(d, now, err)
}

// wanted fails after the end of ctx: sysfs answers all the same, and the caller would go on.
func wanted(ctx context.Context, nqn string) error {
	if ctx.Err() == nil {
		return nil
	}
	return fault.E("find "+nqn, ended(ctx, fault.Timeout), context.Cause(ctx))
}

func stillSame(d, now Device, err error) error {
	if err == nil && (now.Num != d.Num || now.Size < d.Size) {
		return fault.Errorf("look for the device", fault.NVMeControllerLost, "the device changed under way: %s with %d bytes is now %s (%s) with %d",
			d.Num, d.Size, now.Num, now.Path, now.Size)
	}
	return err
}

// shows tells whether the controller that d was found behind is live and has it, the head of its only path. It
// is false also where that cannot be told, and of a device without a head: another controller could then have
// another device of the same volume.
func (t tree) shows(d Device, nqn, hostNQN string) bool {
	if d.path == d.dir {
		return false
	}
	controllerDir, err := open(t.controllerDir(d.Controller))
	if err != nil {
		return false
	}
	defer controllerDir.Close()
	for _, a := range [][2]string{{"subsysnqn", nqn}, {"transport", "tcp"}, {"hostnqn", hostNQN}, {"state", stateLive}} {
		if got, err := attribute(t.attrs, controllerDir, a[0]); err != nil || got != a[1] {
			return false
		}
	}
	names, err := namesOf(controllerDir, pathName, diskName)
	if err != nil || len(names) != 1 || names[0] != filepath.Base(d.path) {
		return false
	}
	path, err := controllerDir.Open(names[0])
	if err != nil {
		return false
	}
	defer path.Close()
	return t.headed(controller{name: d.Controller, nqn: nqn}, controllerDir, path, d)
}

// headed tells whether d is the head of a path of the controller.
func (t tree) headed(c controller, controllerDir, path *host.Directory, d Device) bool {
	want, err := t.namespace(path)
	if err != nil {
		return false
	}
	subsystem, err := t.subsystemOf(c, controllerDir, filepath.Base(filepath.Dir(d.dir)))
	if err != nil || subsystem == nil {
		return false
	}
	defer subsystem.Close()
	names, err := namesOf(subsystem, diskName)
	if err != nil || len(names) != 1 || names[0] != filepath.Base(d.dir) {
		return false
	}
	head, err := subsystem.Open(names[0])
	if err != nil {
		return false
	}
	defer head.Close()
	is, err := t.isHead(head, want)
	return is && err == nil && t.as(head, d)
}

// as tells whether a directory shows the number of d, and its size or more.
func (t tree) as(dir *host.Directory, d Device) bool {
	num, err := number(t.attrs, dir)
	if err != nil || num != d.Num {
		return false
	}
	bytes, err := size(t.attrs, dir)
	return err == nil && bytes >= d.Size
}

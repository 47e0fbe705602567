package check

import (
	"context"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

const noSetting = "there is no setting for that: please report it"

// create: sizes in exact bytes, and how the array shows them.
func (t *trial) create(ctx context.Context) error {
	const subject = "create"
	seen, err := t.scratch.Create(ctx, firstSize)
	switch {
	case t.failed(subject, err):
		return errStop
	case fault.KindOf(err) == fault.Internal && fault.ReasonOf(err) != fault.RouterOSRejected:
		t.found.differs(Failed, "sizes", Difference{"it shows a disk in a way that the driver cannot read: " + said(err), "every volume is refused", noSetting})
		return errStop
	case err != nil:
		t.found.differs(Failed, subject, Difference{"it does not make a file disk with a size in bytes: " + said(err), "no volume can be made", noSetting})
		return errStop
	}
	t.r.seen = &seen
	t.found.ok(subject, "volume %s is there, in pool %s", t.scratch.Slot(), t.scratch.Pool().MountPoint)
	t.judgeSize("size", seen, firstSize)
	t.judgeTypes(seen)
	t.judgeComment(seen)
	t.judgeFile(seen)
	t.judgeSpace(seen)
	return nil
}

func (t *trial) judgeSize(subject string, seen rds.Seen, asked uint64) {
	switch {
	case seen.Size == asked:
		t.found.ok(subject, "asked for %d bytes, and shown as exactly that", asked)
	case seen.Size > asked:
		t.found.differs(Warning, subject, Difference{sizes(asked, seen.Size), "volumes are a little larger than asked for; a PVC with a limit that leaves no room is refused", "ask for whole GiB"})
	default:
		t.found.differs(Failed, subject, Difference{sizes(asked, seen.Size), "the driver refuses a volume that is smaller than asked for", "ask for whole GiB"})
	}
}

func (t *trial) judgeTypes(seen rds.Seen) {
	const subject = "values"
	var kinds []string
	for _, property := range []string{"size", "nvme-tcp-export", "file-path"} {
		kind, shown := seen.Types[property]
		if !shown {
			kind = "nothing"
		}
		kinds = append(kinds, property+" as "+kind)
	}
	text := strings.Join(kinds, ", ")
	if seen.Types["nvme-tcp-export"] == "" {
		t.found.differs(Failed, subject, Difference{"it does not show nvme-tcp-export (" + text + ")", "the driver cannot tell whether a volume is exported", noSetting})
		return
	}
	t.found.ok(subject, "they come as JSON: %s", text)
}

func (t *trial) judgeComment(seen rds.Seen) {
	const subject = "comment"
	if seen.Comment == t.comment {
		t.found.ok(subject, "%d bytes are kept whole, as many as the driver's record may have", len(t.comment))
		return
	}
	t.found.differs(Warning, subject, Difference{
		"of a comment of " + count(len(t.comment)) + " it keeps " + count(len(seen.Comment)), "the record of who holds a volume is lost where names are long; such a volume cannot be attached",
		"keep namespace, PVC and node names, and --cluster-id, short"})
}

func (t *trial) judgeFile(seen rds.Seen) {
	const subject = "file"
	switch {
	case !seen.AsNamed:
		t.found.differs(Failed, subject, Difference{"it shows the path of a disk's file otherwise than it was set, as " + seen.Path, "the driver cannot tell whether a disk uses a file, and deletes none", noSetting})
		return
	case seen.HasFile:
		t.found.ok(subject, "/file shows it at once")
		return
	}
	t.found.differs(Warning, subject, Difference{"/file does not show the new file at once", "the first attach of a new volume may be refused, and is tried again", "nothing"})
}

// judgeSpace tells whether the array takes the space at once, as was seen on XFS (facts/routeros.md §0.8).
func (t *trial) judgeSpace(seen rds.Seen) {
	const subject = "space"
	before := t.scratch.Pool().Free
	if taken := before - min(before, seen.Free); taken >= firstSize/2 {
		t.found.ok(subject, "the pool has less free: the array takes a volume's space at once")
		return
	}
	t.found.ok(subject, "the pool has as much free as before: the array takes a volume's space when it is written")
}

func (t *trial) duplicate(ctx context.Context) error {
	const subject = "duplicate slot"
	err := t.scratch.Duplicate(ctx, firstSize)
	switch {
	case t.failed(subject, err):
		return errStop
	case err == nil:
		t.found.differs(Warning, subject, Difference{"it lets a second disk into a slot that is taken",
			"two controllers that make one volume at the same moment can make two disks; the driver then refuses the volume until one is removed", "let one controller work at a time (leader election of the sidecars)"})
		return t.clearDuplicate(ctx)
	case fault.KindOf(err) == fault.Conflict:
		t.found.ok(subject, "a second disk is refused: %s", said(err))
	default:
		t.found.differs(Warning, subject, Difference{"it refuses a second disk in other words: " + said(err),
			"where two controllers make one volume at the same moment, one of them reports an internal error before it tries again", "nothing; please report the words"})
	}
	return nil
}

// clearDuplicate begins anew: with two disks in the slot nothing else can be tried.
func (t *trial) clearDuplicate(ctx context.Context) error {
	const subject = "duplicate slot"
	left, err := t.scratch.Remove(ctx)
	if err == nil && left == (rds.Left{}) {
		_, err = t.scratch.Create(ctx, firstSize)
	}
	if err != nil || left != (rds.Left{}) {
		if !t.failed(subject, err) {
			t.found.add(Failed, subject, "", "the scratch volume could not be made anew: %v (left: %d disks, %d files)", err, left.Disks, left.Files)
		}
		return errStop
	}
	return nil
}

// grow: while it is exported, and where there is a session seen by the host.
func (t *trial) grow(ctx context.Context) error {
	const subject = "growth"
	d := Difference{Consequence: "a volume that a pod uses does not grow; the PVC stays in resizing and is tried again", Setting: "stop the pods that use the volume, then it grows"}
	seen, err := t.scratch.Grow(ctx, grownSize)
	switch {
	case t.failed(subject, err):
		return errStop
	case err != nil:
		d.What = "it refuses to make an exported disk larger: " + said(err)
		t.found.differs(Warning, subject, d)
		return nil
	}
	t.judgeSize(subject, seen, grownSize)
	t.seesGrowth(ctx, seen.Size)
	return nil
}

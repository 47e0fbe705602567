package reconcile

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

const (
	// namedOrphans is how many are named in the log after one look. The others follow with the next.
	namedOrphans = 10
	// nameAgain is when an orphan that remains is named again: a log is rotated away while the alert goes on.
	nameAgain = 24 * time.Hour
	// listsSaid is the time between two lines on whether PersistentVolumes can be listed.
	listsSaid = 10 * time.Minute
)

// orphanLog says what Orphans finds. One goroutine uses it.
type orphanLog struct {
	to    *zap.Logger
	array string
	said  listable  // by the last line
	at    time.Time // of the last line; zero: there was none
}

// listable tells whether PersistentVolumes can be listed.
type listable int

const (
	canList listable = iota
	cannotList
	mustNotList // until somebody changes a setting
)

func listableBy(err error) listable {
	switch {
	case err == nil:
		return canList
	case fault.KindOf(err) == fault.Precondition:
		return mustNotList
	default:
		return cannotList
	}
}

// listed says that the orphans are not known, or are known again. What changes to and fro is not said each time,
// but the last line becomes true at the latest when its time has passed.
func (l *orphanLog) listed(now time.Time, err error) {
	is := listableBy(err)
	if is == l.said || now.Sub(l.at) < listsSaid {
		return
	}
	l.said, l.at = is, now
	if err == nil {
		l.to.Info("Kubernetes tells again which volumes have a PersistentVolume")
		return
	}
	l.to.Warn("Kubernetes does not tell which volumes have a PersistentVolume: volumes that nobody has any more are not counted (rds_csi_volumes{state=\"orphan\"})",
		zap.Error(err))
}

// name says of each orphan which it is, and again each day. Those that were never named come first.
func (l *orphanLog) name(now time.Time, found []*suspect) {
	found = slices.DeleteFunc(slices.Clone(found), func(s *suspect) bool { return now.Sub(s.named) < nameAgain })
	slices.SortFunc(found, func(a, b *suspect) int {
		return cmp.Or(a.named.Compare(b.named), cmp.Compare(a.volume.Slot, b.volume.Slot))
	})
	for _, s := range found[:min(len(found), namedOrphans)] {
		s.named = now
		v := s.volume
		l.to.Warn("a volume on the array has no PersistentVolume, and nothing removes it; where that was deleted to keep the data (reclaim policy Retain) it is as it should be. "+
			"How to use the volume again, or delete it: docs/runbooks/RDSCSIOrphanVolumes.md",
			zap.String("volume_id", l.id(v)), zap.Uint64("size_bytes", v.Size), zap.String("made_for_pv", v.Record.PV),
			zap.String("made_for_pvc", v.Record.PVC), zap.String("held_by", strings.Join(v.Record.Holders, ",")))
	}
}

// ended takes back what was said of those that are no orphans any more; volumes are those that the array has.
func (l *orphanLog) ended(no []*suspect, volumes []rds.Volume) {
	there := map[string]bool{}
	for _, v := range volumes {
		there[v.Slot] = true
	}
	slices.SortFunc(no, func(a, b *suspect) int { return cmp.Compare(a.volume.Slot, b.volume.Slot) })
	for _, s := range no {
		id := zap.String("volume_id", l.id(s.volume))
		switch {
		case s.named.IsZero():
		case there[s.volume.Slot]:
			l.to.Info("a volume that was named as an orphan has a PersistentVolume again: do not make another, and do not delete it", id)
		default:
			l.to.Info("a volume that was named as an orphan is gone from the array, or bears the cluster's mark no longer", id)
		}
	}
}

func (l *orphanLog) id(v rds.Volume) string { return l.array + "/" + v.Slot }

package reconcile

import (
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// unclaimed remembers for how long volumes have been seen without a PersistentVolume.
type unclaimed struct {
	grace  time.Duration // after which one is an orphan
	most   time.Duration // of the time before a look that the look can speak for
	last   time.Time     // of the last look; zero: there was none
	bySlot map[string]*suspect
}

// suspect is a volume without a PersistentVolume.
type suspect struct {
	volume rds.Volume
	age    time.Duration // for how long it was seen so
	before bool          // it may have been so for longer than grace while nobody looked
	named  time.Time     // when the log last named it; zero: it did not
}

// look takes what a look has found at now. What was not found any more is forgotten, and given back. Of a pause
// longer than most nothing is known: neither was anybody able to make a PersistentVolume if the API server was
// away. One up to most is that of looks that go well, even where grace is shorter.
func (u *unclaimed) look(now time.Time, without []rds.Volume) (forgotten []*suspect) {
	pause := now.Sub(u.last)
	found := make(map[string]*suspect, len(without))
	for _, v := range without {
		s := u.bySlot[v.Slot]
		if s == nil {
			s = &suspect{}
		} else {
			s.age += min(pause, u.most)
		}
		s.volume, s.before = v, s.before || pause > max(u.grace, u.most)
		found[v.Slot] = s
	}
	for slot, s := range u.bySlot {
		if found[slot] == nil {
			forgotten = append(forgotten, s)
		}
	}
	u.last, u.bySlot = now, found
	return forgotten
}

// orphans are those that have been without one for longer than grace. They are not known while there is a
// volume that may be one, or may be new.
func (u *unclaimed) orphans() (found []*suspect, known bool) {
	known = true
	for _, s := range u.bySlot {
		switch {
		case s.age >= u.grace:
			found = append(found, s)
		case s.before:
			known = false
		}
	}
	return found, known
}

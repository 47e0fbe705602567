package rdssim

import (
	"fmt"
	"slices"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim/script"
)

// Difference is one thing in which an array answers otherwise than the simulator does by default. Which
// way the real array does it is not known (facts/routeros.md §10). The set is closed.
type Difference string

// The differences.
const (
	NoRose         Difference = "no-rose"          // the package rose-storage is not installed
	NoBytes        Difference = "no-bytes"         // file-size takes a number with K, M, G or T only
	RoundsSizes    Difference = "rounds-sizes"     // sizes are cut to whole MiB
	TextSizes      Difference = "text-sizes"       // sizes come as text, not as numbers
	UnitSizes      Difference = "unit-sizes"       // sizes come rounded, with a unit
	NoACL          Difference = "no-acl"           // nvme-tcp-server-allow-host-name takes no host NQN
	IgnoresACL     Difference = "ignores-acl"      // it is taken, and does nothing
	NoACLList      Difference = "no-acl-list"      // a list of hosts is refused
	OneNameACL     Difference = "one-name-acl"     // a list of hosts is taken for the name of one
	SharesSlots    Difference = "shares-slots"     // a second item gets into a slot that is taken
	NoExportedGrow Difference = "no-exported-grow" // an exported disk cannot be made larger
	KeepsNQN       Difference = "keeps-nqn"        // the NQN that was set first stays
	ShortComments  Difference = "short-comments"   // comments are cut to 255 bytes
	BarePaths      Difference = "bare-paths"       // file-path comes without its leading slash
	HidesRights    Difference = "hides-rights"     // /user cannot be read with the policy read alone
)

// Differences lists all.
func Differences() []Difference {
	return []Difference{NoRose, NoBytes, RoundsSizes, TextSizes, UnitSizes, NoACL, IgnoresACL, NoACLList, OneNameACL, SharesSlots,
		NoExportedGrow, KeepsNQN, ShortComments, BarePaths, HidesRights}
}

func (o Options) differs(d Difference) bool { return slices.Contains(o.Differences, d) }

func (o Options) checkDifferences() error {
	for _, d := range o.Differences {
		if !slices.Contains(Differences(), d) {
			return fmt.Errorf("difference %q is not one of %v", d, Differences())
		}
	}
	return nil
}

const (
	shortComment = 255
	sizeUnit     = 1 << 20
)

// sizeAsked reads file-size the array's way.
func (o Options) sizeAsked(text string) (uint64, bool) {
	if o.differs(NoBytes) && !strings.ContainsAny(text, "KMGT") {
		return 0, false
	}
	size, ok := parseSize(text)
	if o.differs(RoundsSizes) {
		size = size / sizeUnit * sizeUnit
	}
	return size, ok
}

// sizeShown is a size as the console's machine form has it.
func (o Options) sizeShown(size uint64) script.Value {
	switch {
	case o.differs(UnitSizes):
		return rounded(int64(size))
	case o.differs(TextSizes):
		return fmt.Sprint(size)
	default:
		return int64(size)
	}
}

// accepted is a property's value as the array stores it: before is what it was.
func (o Options) accepted(name, value, before string) (string, error) {
	switch {
	case name == "comment" && o.differs(ShortComments):
		return value[:min(len(value), shortComment)], nil
	case name == "nvme-tcp-server-nqn" && o.differs(KeepsNQN) && before != "":
		return before, nil
	case name != "nvme-tcp-server-allow-host-name" || value == "":
		return value, nil
	case o.differs(NoACL), o.differs(NoACLList) && strings.Contains(value, ","):
		return "", script.Errorf("invalid value for argument %s", name)
	case o.differs(IgnoresACL):
		return "", nil
	default:
		return value, nil
	}
}

// allowedHosts reads an ACL the array's way.
func (o Options) allowedHosts(acl string) []string {
	if o.differs(OneNameACL) && acl != "" {
		return []string{acl}
	}
	return hosts(acl)
}

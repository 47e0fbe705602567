package rds

import (
	"strconv"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
)

// growth is what a volume is about to become. It is announced on the array before the pool's figures are
// looked at: of two controllers that want the last bytes, one at least then sees the other. A volume
// cannot be made smaller again, so the size itself cannot be the announcement; nor can the comment, which
// holds the fence token and which a publish may write at the same moment. It is an empty directory beside
// the volume's own, of which the name says everything.
type growth struct {
	pool, slot string
	size       uint64 // bytes, of the whole volume
	nonce      string // no announcement comes back under a name that another controller has taken away
}

const (
	growthMark = ".grow-"            // stands behind the slot
	growthForm = "[0-9]+-[0-9a-f]+$" // size and nonce, behind the mark
)

func (g growth) name() string { return g.stem() + strconv.FormatUint(g.size, 10) + "-" + g.nonce }

func (g growth) stem() string { return g.pool + "/" + g.slot + growthMark }

// all are the announcements of this volume: others than g are of calls that ended in between.
func (g growth) all() string {
	return "[/file find where name~" + routeros.Quote("^"+quoteRegexp(g.stem())+growthForm) + " type=directory]"
}

// announceScript puts the announcement there, then shows what is promised with it.
func (g growth) announceScript(put routeros.Put) string {
	return join("/file add name="+routeros.Quote(g.name())+" type=directory", promisedScript(g.pool)(put))
}

// withdrawScript takes back all that is announced of the volume.
func (g growth) withdrawScript(put routeros.Put) string {
	return join("/file remove "+g.all(), put("files", "[:len "+g.all()+"]"))
}

// body sets the size while the announcement stands, and takes down all of this volume. It never shrinks, and
// only grows what bears our mark.
func (g growth) body(clusterMark string) routeros.Body {
	bytes := strconv.FormatUint(g.size, 10)
	return func(put routeros.Put) string {
		return join(
			findSlot(g.slot),
			when(one("rdsD"),
				readComment("rdsD"),
				mustBeOurs(clusterMark),
				readPath("rdsD"),
				fileMustExist(),
				when("[/disk get $rdsD size] < "+bytes,
					when("[:len [/file find where name="+routeros.Quote(g.name())+"]] = 0", raise(errNotAnnounced)),
					"/disk set $rdsD file-size="+bytes),
				"/file remove "+g.all(),
			),
			rowOf(put, g.slot),
		)
	}
}

// announcedIn is the regular expression of what is announced in a pool.
func announcedIn(pool string) string {
	return "^" + quoteRegexp(pool) + "/[^/]+" + quoteRegexp(growthMark) + growthForm
}

// quoteRegexp makes a POSIX extended regular expression of text.
func quoteRegexp(text string) string {
	var b strings.Builder
	for _, r := range text {
		if strings.ContainsRune(`\.+*?()|[]{}^$`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// growing sums what volumes of a pool are about to take beyond their sizes. What is announced of a
// volume that is not there, or has grown, takes nothing.
func growing(reply *routeros.Reply, pool string, sizes map[string]uint64, poolSize uint64) (uint64, error) {
	rows, err := reply.Rows("grow")
	if err != nil {
		return 0, err
	}
	wanted := map[string]uint64{}
	for _, row := range rows {
		name := strings.TrimPrefix(row.String("name"), "/")
		at := strings.LastIndex(name, growthMark)
		slot, ours := strings.CutPrefix(name[:max(at, 0)], pool+"/")
		if !ours {
			continue
		}
		digits, _, _ := strings.Cut(name[at+len(growthMark):], "-")
		size, err := strconv.ParseUint(digits, 10, 64)
		if err != nil {
			return 0, fault.E("read the announced growth "+name+" (remove it if it was made by hand)", fault.Internal, err)
		}
		wanted[slot] = max(wanted[slot], size)
	}
	var sum uint64
	for slot, want := range wanted {
		if size, there := sizes[slot]; there {
			sum += min(subtract(want, size), poolSize) // a name made by hand may say anything
		}
	}
	return sum, nil
}

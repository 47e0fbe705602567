package rds

import (
	"strconv"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
)

// claimScript adds a volume in the state "new", looks at what is promised of the pool with it, and sets the state to
// "free" if that is no more than may be. Of two controllers that take the last bytes one at least sees
// both volumes. An exec that ends in between leaves a volume that nobody was told of, which the next call
// with its name brings to either end.
type claimScript struct {
	addScript
	most, reserve uint64 // of the pool, in bytes
}

// body leaves the state as it is where the array's own sum is not certain: growth is under way, or a
// size does not come as a number. The caller then decides by the figures that it prints.
func (s claimScript) body(put routeros.Put) string {
	inPool := "[:pick $rdsG 0 " + strconv.Itoa(len(s.pool)+1) + "] = " + routeros.Quote(s.pool+"/")
	within := "($rdsT <= " + strconv.FormatUint(s.most, 10) + ") && ($rdsV >= " + strconv.FormatUint(s.reserve, 10) + ")"
	unsure := ":set rdsU 1"
	return join(
		s.add(put),
		poolItem(put, s.pool),
		":local rdsT 0",
		":local rdsU 0",
		sizesOf(put,
			`:local rdsG [:tostr ($rdsR->"file-path")]`,
			stripSlash("rdsG"),
			`:local rdsV [:tonum ($rdsR->"size")]`,
			when(inPool, ":if ("+isNumber("rdsV")+") do={:set rdsT ($rdsT + $rdsV)} else={"+unsure+"}"),
		),
		growthsOf(put, s.pool, unsure),
		":local rdsV [:tonum [/disk get [/disk find where mount-point="+routeros.Quote(s.pool)+"] free]]",
		when("($rdsU = 0) && ("+isNumber("rdsV")+")", when(within, s.grant())),
		rowOf(put, s.slot),
	)
}

func isNumber(variable string) string { return "[:typeof $" + variable + `] = "num"` }

// grantScript is the end of a claim for which the caller has found room.
func (s claimScript) grantScript(put routeros.Put) string { return join(s.grant(), rowOf(put, s.slot)) }

// grant changes nothing but a volume that is still new, whoever has added it.
func (s claimScript) grant() string {
	find := "[/disk find where slot=" + routeros.Quote(s.slot) + " type=file nvme-tcp-export=no comment=" + routeros.Quote(s.comment) + "]"
	described, _, _ := strings.Cut(s.comment, separator)
	return "/disk set " + find + " comment=" + routeros.Quote(described+separator+stateFree)
}

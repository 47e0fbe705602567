package rdssim

import (
	"fmt"
	"strconv"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim/script"
)

// human is a value as tables show it. Strings are quoted in detail only.
func human(s style, v script.Value, detail bool) string {
	switch n, isNumber := v.(int64); {
	case s == styleBool:
		if v == true {
			return "yes"
		}
		return "no"
	case s == styleGrouped && isNumber:
		return grouped(n)
	case s == styleRounded && isNumber:
		return rounded(n)
	case s == styleText && detail:
		return quote(script.Text(v))
	}
	return script.Text(v)
}

var quoting = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`)

func quote(s string) string { return `"` + quoting.Replace(s) + `"` }

// grouped writes thousands apart: 53 687 091 200.
func grouped(n int64) string {
	digits := strconv.FormatInt(n, 10)
	var out strings.Builder
	for i := range len(digits) {
		if i > 0 && (len(digits)-i)%3 == 0 {
			out.WriteByte(' ')
		}
		out.WriteByte(digits[i])
	}
	return out.String()
}

// rounded writes a file's size with one decimal. It stays with GiB: a TiB is
// 1024.0GiB.
func rounded(n int64) string {
	switch {
	case n < 1<<10:
		return strconv.FormatInt(n, 10)
	case n < 1<<20:
		return fmt.Sprintf("%.1fKiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1fMiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1fGiB", float64(n)/(1<<30))
}

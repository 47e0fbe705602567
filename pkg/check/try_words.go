package check

import (
	"fmt"
	"strings"
)

func sizes(asked, shown uint64) string {
	return fmt.Sprintf("asked for %d bytes it makes a disk of %d", asked, shown)
}

func count(bytes int) string { return fmt.Sprintf("%d bytes", bytes) }

func hostsShown(hosts []string) string {
	if len(hosts) == 0 {
		return "none, which lets in anybody"
	}
	return strings.Join(hosts, " and ")
}

// said is what the array answered, without what led there.
func said(err error) string {
	if err == nil {
		return "it answers nothing"
	}
	text := err.Error()
	if i := strings.Index(text, "the array ("); i >= 0 {
		return text[i:]
	}
	return text
}

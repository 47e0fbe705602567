package script

import (
	"regexp"
	"testing"
)

func TestPatternsMatchAsPOSIX(t *testing.T) {
	texts := []string{"", "a", "pool/csi-1/disk.img", "csi-1", "xcsi-1", "pool/csi-1/diskximg", "CSI-1", "aa.b", "csi-10"}
	for _, text := range []string{"^csi-", "(^|/)csi-1/disk[.]img$", "csi-1$", "a*", "a|csi", "[[:upper:]]+", "a{2}", "(csi)?-1", ".", "^$"} {
		p, err := compile(text)
		if err != nil {
			t.Fatal(err)
		}
		posix := regexp.MustCompilePOSIX(text)
		for _, s := range texts {
			if got, want := p.match(s), posix.MatchString(s); got != want {
				t.Errorf("%q ~ %q is %v (needs %q)", s, text, got, p.literal)
			}
		}
	}
	for _, text := range []string{`(`, `\d`, `(?i)x`, `[z-a]`, `*`} {
		if _, err := compile(text); err == nil {
			t.Errorf("%q is no POSIX expression", text)
		}
	}
}

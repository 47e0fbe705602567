package rdssim

import (
	"strings"
	"testing"
)

// FuzzConsole: no console text makes the array panic, hang or write outside of
// its pools.
func FuzzConsole(f *testing.F) {
	for _, seed := range []string{
		`/disk add type=file slot=x file-path=storage-pool/x.img file-size=1M`, `/disk print detail`, `/disk set [find] comment="x"`,
		"/file add name=storage-pool/d type=directory\n/file remove [find where name~\"d\\$\"]", `/disk/btrfs/subvolume add fs=storage-pool-fs name=s`,
		`:foreach r in=[/disk print as-value] do={:put [:serialize to=json value=$r]}`, `/system identity set name="$(1 . 2)"`,
		`/disk add type=file file-path="/storage-pool/../../x" file-size=1`, `/disk remove storage-pool`, `/file print proplist=name`,
	} {
		f.Add(seed)
	}
	a := start(f, Options{})
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "while") || strings.Contains(text, "for") {
			return // loops may run long; the parser's own target has them
		}
		a.Run(t.Context(), text)
		if got := a.Run(t.Context(), `:put [/disk get storage-pool type]`); got != "raid\r\n" {
			t.Fatalf("the array is broken: %q", got)
		}
	})
}

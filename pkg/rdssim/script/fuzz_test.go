package script

import (
	"strings"
	"testing"
)

// FuzzParse: no line makes the parser panic or run for ever, and an error
// points into the line.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`:put [/disk find where slot~"^csi-" && !mounted]`, `:local x {a=1;"b"=2}; :put ($x->"a")`,
		`:onerror e in={/disk add slot="a\"b"} do={:put $e}`, `:foreach k,v in=[/disk print as-value] do={:put "$k $[:len $v]"}`,
		`/disk; find where slot=*2B; :put (1 + -2 . "x" , 3)`, `:if (!(true)) do={} else={}`, "\x00\xff\"\\", `:put "$(`, `#`,
		`:serialize to=json options=(json.pretty,json.no-string-conversion) value=$x`, `:do {} while=(1 < 2)`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		_, err := Parse(line, &fakeConsole{minor: 24})
		if e, ok := err.(*SyntaxError); ok && (e.Column < 1 || e.Column > len(line)+1) {
			t.Errorf("column %d of a line of %d bytes", e.Column, len(line))
		}
	})
}

// escape writes a string as a literal, by the console's documented escapes.
func escape(s string) string {
	var out strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case strings.IndexByte(`"\$`, c) >= 0:
			out.WriteByte('\\')
			out.WriteByte(c)
		case c < ' ' || c >= 0x7f:
			out.WriteByte('\\')
			out.WriteByte("0123456789ABCDEF"[c>>4])
			out.WriteByte("0123456789ABCDEF"[c&15])
		default:
			out.WriteByte(c)
		}
	}
	return out.String()
}

// FuzzStringLiteral: an escaped string is that string again, wherever a value
// may stand, and nothing in it runs.
func FuzzStringLiteral(f *testing.F) {
	for _, seed := range []string{"", "plain", `a"b\c$d`, "$[/disk remove *1]", "\t\r\n\x00\x7f\xff", "ä;{}[]()#?", `\_ \41`, "$(1 + 1)"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := &fakeConsole{minor: 24}
		parsed, err := Parse(`:put "`+escape(s)+`"`, c)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := parsed.Run(t.Context(), c, func(text string) { got += text }); err != nil {
			t.Fatal(err)
		}
		if got != s+"\r\n" || len(c.calls) > 0 {
			t.Errorf("got %q, ran %v", got, c.calls)
		}
	})
}

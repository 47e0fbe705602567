package routeros

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

func TestQuote(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"plain", "csi-0123", `"csi-0123"`},
		{"empty", "", `""`},
		{"quotes and backslashes", `a"b\c`, `"a\"b\\c"`},
		{"a variable", "$x $[/system reboot]", `"\$x \$[/system reboot]"`},
		{"code without a dollar is text", "[:error x]; {} (1)?", `"[:error x]; {} (1)?"`},
		{"line feed and tab", "a\r\n\tb", `"a\0D\0A\09b"`},
		{"NUL and DEL", "\x00\x7f", `"\00\7F"`},
		{"UTF-8 goes byte by byte", "é", `"\C3\A9"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Quote(tt.in); got != tt.want {
				t.Errorf("Quote(%q) = %s, want %s", tt.in, got, tt.want)
			}
		})
	}
}

func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "plain", `"`, `\`, `$`, "\n", "\t", "é", "\xff", `\"$[:error 1]`, "a;b{c}[d]", "\\0A"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		literal := Quote(s)
		got, err := unquote(literal)
		if err != nil {
			t.Fatalf("Quote(%q) = %s: %v", s, literal, err)
		}
		if got != s {
			t.Fatalf("Quote(%q) = %s, which says %q", s, literal, got)
		}
	})
}

// unquote reads a string literal by the rules of facts/routeros.md §4.4 and refuses all else.
func unquote(literal string) (string, error) {
	inner, opened := strings.CutPrefix(literal, `"`)
	inner, closed := strings.CutSuffix(inner, `"`)
	if !opened || !closed {
		return "", fmt.Errorf("not in quotes")
	}
	var b strings.Builder
	for i := 0; i < len(inner); i++ {
		c := inner[i]
		switch {
		case c < ' ' || c > '~' || c == '"' || c == '$':
			return "", fmt.Errorf("bare %q at %d", c, i)
		case c != '\\':
			b.WriteByte(c)
		case i+1 < len(inner) && strings.IndexByte(`"\$`, inner[i+1]) >= 0:
			i++
			b.WriteByte(inner[i])
		default:
			if i+3 > len(inner) || strings.ToUpper(inner[i+1:i+3]) != inner[i+1:i+3] {
				return "", fmt.Errorf("bad escape at %d", i)
			}
			n, err := strconv.ParseUint(inner[i+1:i+3], 16, 8)
			if err != nil {
				return "", err
			}
			b.WriteByte(byte(n))
			i += 2
		}
	}
	return b.String(), nil
}

package routeros

import "strings"

// Quote makes a console string literal of s. It is the one place where values become console
// text. Inside quotes only `\`, `"` and `$` mean something (facts/routeros.md §4.4); bytes that
// are not printable ASCII go as `\XX`, upper case hex, so that neither a line feed splits the
// exec nor a tab is expanded.
func Quote(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(s) + 2)
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\\' || c == '"' || c == '$':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			b.WriteByte('\\')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

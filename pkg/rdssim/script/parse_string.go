package script

import "strings"

// escapes are the console's single-letter escapes (facts: measured on 7.23.3;
// anything else after a backslash is an error).
var escapes = map[byte]byte{
	'"': '"', '\\': '\\', 'n': '\n', 'r': '\r', 't': '\t', '$': '$', '_': ' ', '?': '?',
	'a': '\a', 'b': '\b', 'f': '\f', 'v': '\v',
}

// quoted reads "…" with interpolation of $var, $[…] and $(…).
func (p *parser) quoted() (expr, error) {
	if err := p.expect('"'); err != nil {
		return nil, err
	}
	var parts []expr
	var text strings.Builder
	for {
		switch c := p.peek(); {
		case p.pos >= len(p.src):
			return nil, p.syntax()
		case c == '"':
			p.pos++
			return joined(parts, text.String()), nil
		case c == '$':
			part, err := p.interpolation()
			if err != nil {
				return nil, err
			}
			parts = append(parts, constant{text.String()}, part)
			text.Reset()
		default:
			if err := p.character(&text); err != nil {
				return nil, err
			}
		}
	}
}

func joined(parts []expr, tail string) expr {
	if len(parts) == 0 {
		return constant{tail}
	}
	return &template{parts: append(parts, constant{tail})}
}

// plainString reads "…" that interpolates nothing.
func (p *parser) plainString() (string, error) {
	start := p.pos
	e, err := p.quoted()
	if err != nil {
		return "", err
	}
	c, ok := e.(constant)
	if !ok {
		return "", p.fail(start, "syntax error")
	}
	return Text(c.value), nil
}

func (p *parser) interpolation() (expr, error) {
	where := p.where
	p.where = ""
	defer func() { p.where = where }()
	switch {
	case strings.HasPrefix(p.src[p.pos:], "$["):
		p.pos++
		return p.substitution()
	case strings.HasPrefix(p.src[p.pos:], "$("):
		p.pos++
		return p.parenthesised()
	}
	return p.variable()
}

// character reads one character of a string, escaped or not. A raw TAB arrives
// as four spaces.
func (p *parser) character(text *strings.Builder) error {
	c := p.src[p.pos]
	if c == '\t' {
		text.WriteString("    ")
		p.pos++
		return nil
	}
	if c != '\\' {
		text.WriteByte(c)
		p.pos++
		return nil
	}
	return p.escape(text)
}

func (p *parser) escape(text *strings.Builder) error {
	start := p.pos
	p.pos++
	c := p.peek()
	if isBlank(c) {
		p.blanks()
		return nil
	}
	if plain, ok := escapes[c]; ok {
		text.WriteByte(plain)
		p.pos++
		return nil
	}
	if p.pos+1 < len(p.src) {
		high, okHigh := upperHex(c)
		low, okLow := upperHex(p.src[p.pos+1])
		if okHigh && okLow {
			text.WriteByte(high<<4 | low)
			p.pos += 2
			return nil
		}
	}
	return p.fail(start, "syntax error")
}

func upperHex(c byte) (byte, bool) {
	switch {
	case isDigit(c):
		return c - '0', true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

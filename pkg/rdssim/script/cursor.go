package script

import "strings"

// maxDepth bounds nesting, so that no input can exhaust the stack.
const maxDepth = 200

// parser reads one console line. Methods that fail return a *SyntaxError whose
// column points at what is wrong.
type parser struct {
	src     string
	pos     int
	depth   int
	console Console
	menu    string // current menu, "" at the root
	where   string // menu whose properties are names here, "" outside where
	nested  bool   // inside [ ]
}

func (p *parser) fail(at int, text string) error {
	return &SyntaxError{Text: text, Column: at + 1}
}

func (p *parser) syntax() error { return p.fail(p.pos, "syntax error") }

func (p *parser) enter() error {
	if p.depth++; p.depth > maxDepth {
		return p.syntax()
	}
	return nil
}

func (p *parser) leave() { p.depth-- }

// peek is the next byte, 0 at the end: a NUL in the text ends it too, as no
// rule accepts one.
func (p *parser) peek() byte {
	if p.pos < len(p.src) {
		return p.src[p.pos]
	}
	return 0
}

func (p *parser) accept(s string) bool {
	if strings.HasPrefix(p.src[p.pos:], s) {
		p.pos += len(s)
		return true
	}
	return false
}

func (p *parser) expect(c byte) error {
	if p.peek() != c {
		return p.syntax()
	}
	p.pos++
	return nil
}

func (p *parser) blanks() {
	for isBlank(p.peek()) {
		p.pos++
	}
}

// take reads the longest run of accepted bytes.
func (p *parser) take(ok func(byte) bool) string {
	start := p.pos
	for p.pos < len(p.src) && ok(p.src[p.pos]) {
		p.pos++
	}
	return p.src[start:p.pos]
}

// atEnd reports whether the command ends here.
func (p *parser) atEnd() bool {
	return p.pos >= len(p.src) || strings.IndexByte(";]})", p.src[p.pos]) >= 0
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// isName: letters and digits make a variable name; any other needs $"…".
func isName(c byte) bool { return isLetter(c) || isDigit(c) }

// isWord: command, argument and property names.
func isWord(c byte) bool { return isName(c) || c == '-' || c == '.' || c == '_' }

// isBare: what an argument's value may hold without quotes.
func isBare(c byte) bool {
	return c > ' ' && strings.IndexByte(";[](){}\"$", c) < 0
}

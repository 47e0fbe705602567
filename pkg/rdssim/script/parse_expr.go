package script

import "strings"

// levels are the binary operators, loosest first. Longer spellings stand
// before their prefixes.
var levels = [][]string{
	{"||", "or"},
	{"&&", "and"},
	{"!=", "<=", ">=", "=", "<", ">", "~"},
	{","},
	{"."},
	{"+", "-"},
	{"*", "/", "%"},
}

const comparison = 2

// expression reads a full expression.
func (p *parser) expression() (expr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	return p.level(0)
}

func (p *parser) level(n int) (expr, error) {
	if n == len(levels) {
		return p.unary()
	}
	left, err := p.level(n + 1)
	if err != nil {
		return nil, err
	}
	for {
		op := p.operator(n)
		if op == "" {
			return left, nil
		}
		right, err := p.operand(n)
		if err != nil {
			return nil, err
		}
		left = &binary{op: op, left: left, right: right}
	}
}

// operator consumes an operator of the level, or nothing.
func (p *parser) operator(n int) string {
	start := p.pos
	p.blanks()
	for _, op := range levels[n] {
		if p.acceptOperator(op) {
			return op
		}
	}
	p.pos = start
	return ""
}

func (p *parser) acceptOperator(op string) bool {
	if strings.HasPrefix(p.src[p.pos:], "->") {
		return false
	}
	start := p.pos
	if !p.accept(op) {
		return false
	}
	if isLetter(op[0]) && isWord(p.peek()) {
		p.pos = start
		return false
	}
	return true
}

// operand reads the right side. In "where" the right side of a comparison may
// be an unquoted word: type=file.
func (p *parser) operand(n int) (expr, error) {
	if n != comparison || p.where == "" {
		return p.level(n + 1)
	}
	p.blanks()
	start := p.pos
	if c := p.peek(); isBare(c) && c != '!' && c != '-' {
		word := p.take(func(c byte) bool { return isBare(c) && c != '&' && c != '|' })
		if word == "" {
			return nil, p.fail(start, "expected input value")
		}
		return constant{literal(word)}, nil
	}
	return p.level(n + 1)
}

func (p *parser) unary() (expr, error) {
	p.blanks()
	op := ""
	switch {
	case p.acceptOperator("!"), p.acceptOperator("not"):
		op = "!"
	case p.acceptOperator("-"):
		op = "-"
	default:
		return p.postfix()
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	operand, err := p.unary()
	return &unary{op: op, operand: operand}, err
}

// postfix reads list->key->key.
func (p *parser) postfix() (expr, error) {
	e, err := p.primary()
	for err == nil {
		start := p.pos
		p.blanks()
		if !p.accept("->") {
			p.pos = start
			return e, nil
		}
		p.blanks()
		var key expr
		key, err = p.primary()
		e = &index{list: e, key: key}
	}
	return nil, err
}

func (p *parser) primary() (expr, error) {
	p.blanks()
	switch c := p.peek(); {
	case c == '"':
		return p.quoted()
	case c == '$':
		return p.variable()
	case c == '[':
		return p.substitution()
	case c == '(':
		return p.parenthesised()
	case c == '{':
		return p.array()
	case c == '*':
		return p.id()
	case isDigit(c):
		return constant{literal(p.take(isName))}, nil
	case isLetter(c), c == '.' && p.where != "":
		return p.word()
	}
	return nil, p.syntax()
}

func (p *parser) id() (expr, error) {
	start := p.pos
	p.pos++
	word := "*" + p.take(isName)
	if !isID(word) {
		return nil, p.fail(start, "syntax error")
	}
	return constant{ID(word)}, nil
}

// word is a property in "where"; elsewhere a boolean, or a name such as
// json.pretty.
func (p *parser) word() (expr, error) {
	start := p.pos
	name := p.take(isWord)
	if p.where == "" {
		return constant{literal(name)}, nil
	}
	if p.console.HasProperty(p.where, name) {
		return property{name}, nil
	}
	if b, ok := Bool(name); ok {
		return constant{b}, nil
	}
	return nil, p.fail(start, "bad parameter "+name)
}

func (p *parser) parenthesised() (expr, error) {
	if err := p.expect('('); err != nil {
		return nil, err
	}
	e, err := p.expression()
	if err != nil {
		return nil, err
	}
	p.blanks()
	return e, p.expect(')')
}

// substitution reads [ commands ].
func (p *parser) substitution() (expr, error) {
	if err := p.expect('['); err != nil {
		return nil, err
	}
	nested, where := p.nested, p.where
	p.nested, p.where = true, ""
	body, err := p.commands()
	p.nested, p.where = nested, where
	if err != nil {
		return nil, err
	}
	return &substitution{body: body}, p.expect(']')
}

// variable reads $name or $"any name".
func (p *parser) variable() (expr, error) {
	if err := p.expect('$'); err != nil {
		return nil, err
	}
	if p.peek() == '"' {
		name, err := p.plainString()
		return variable{name}, err
	}
	name := p.take(isName)
	if name == "" {
		return nil, p.syntax()
	}
	return variable{name}, nil
}

package script

// array reads {a;b} or {key=value;…}.
func (p *parser) array() (expr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	if err := p.expect('{'); err != nil {
		return nil, err
	}
	a := &array{}
	for {
		p.blanks()
		if p.accept("}") {
			return a, nil
		}
		entry, err := p.arrayEntry()
		if err != nil {
			return nil, err
		}
		a.entries = append(a.entries, entry)
		p.blanks()
		if !p.accept(";") && p.peek() != '}' {
			return nil, p.syntax()
		}
	}
}

func (p *parser) arrayEntry() (arrayEntry, error) {
	if key, ok := p.arrayKey(); ok {
		p.blanks()
		value, err := p.expression()
		return arrayEntry{key: key, keyed: true, value: value}, err
	}
	value, err := p.expression()
	return arrayEntry{value: value}, err
}

// arrayKey consumes key= where there is one.
func (p *parser) arrayKey() (string, bool) {
	start := p.pos
	key := p.take(isWord)
	if key == "" && p.peek() == '"' {
		if s, err := p.plainString(); err == nil {
			key = s
		}
	}
	if key != "" && p.accept("=") {
		return key, true
	}
	p.pos = start
	return "", false
}

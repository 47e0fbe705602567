package script

import "strings"

// Parse reads one line: commands separated by semicolons. The names of menus,
// commands, arguments and properties are checked here, as the console does,
// so that a line with an unknown one does nothing at all.
func Parse(line string, console Console) (*Script, error) {
	if strings.HasPrefix(line, "#") {
		return &Script{}, nil // a comment stands at the very beginning of a line
	}
	p := &parser{src: line, console: console}
	body, err := p.commands()
	if err != nil {
		return nil, err
	}
	if p.pos < len(p.src) {
		return nil, p.syntax()
	}
	return &Script{body: body}, nil
}

// commands reads up to the closing byte of the enclosing bracket, or the end.
// A menu that a path alone selects is current until then.
func (p *parser) commands() (block, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	menu := p.menu
	defer func() { p.menu = menu }()
	var body block
	for {
		p.separators()
		if p.atEnd() {
			return body, nil
		}
		cmd, err := p.command()
		if err != nil {
			return nil, err
		}
		if cmd != nil {
			body = append(body, cmd)
		}
		if !p.atEnd() {
			return nil, p.fail(p.pos, "expected end of command")
		}
	}
}

// separators skips blanks and semicolons.
func (p *parser) separators() {
	for isBlank(p.peek()) || p.peek() == ';' {
		p.pos++
	}
}

// command reads one command; nil is a change of menu.
func (p *parser) command() (expr, error) {
	switch p.peek() {
	case ':':
		p.pos++
		start := p.pos
		return p.builtin(start, p.take(isWord))
	case '{':
		return p.braced()
	case '/':
		p.pos++
		p.menu = ""
		return p.path("", true)
	}
	return p.path(p.menu, false)
}

// braced reads { commands }.
func (p *parser) braced() (block, error) {
	if err := p.expect('{'); err != nil {
		return nil, err
	}
	outer := p.nested
	p.nested = false
	body, err := p.commands()
	p.nested = outer
	if err != nil {
		return nil, err
	}
	return body, p.expect('}')
}

// path reads menu names up to a command: "/disk add", "/disk/add" and
// "/disk/btrfs/subvolume add" are all the same kind of thing.
func (p *parser) path(menu string, absolute bool) (expr, error) {
	changed := absolute
	for {
		p.blanks()
		if p.atEnd() && changed {
			p.menu = menu
			return nil, nil
		}
		start := p.pos
		name := p.take(isWord)
		full := menu + "/" + name
		switch p.console.Kind(full) {
		case Menu:
			menu, changed = full, true
			p.accept("/")
		case Command:
			return p.menuCommand(menu, name)
		default:
			return p.notInTree(start, name, !changed || menu == "")
		}
	}
}

// notInTree resolves a name the tree does not have: a command of the language
// where one may stand, else an error.
func (p *parser) notInTree(start int, name string, global bool) (expr, error) {
	if _, known := builtins[name]; known && global {
		return p.builtin(start, name)
	}
	if name == "" {
		return nil, p.fail(start, "expected command name")
	}
	if p.nested {
		return nil, p.fail(start, "syntax error")
	}
	return nil, p.fail(start, "bad command name "+name)
}

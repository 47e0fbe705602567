package script

// positionals are the arguments a command takes without a name, in order; a
// command has those of them that the tree gives it.
var positionals = []string{"numbers", "number", "value-name", "message"}

// menuCommand reads the arguments of a command of the tree. Its menu is current
// in them: "/disk remove [find …]".
func (p *parser) menuCommand(menu, verb string) (expr, error) {
	outer := p.menu
	p.menu = menu
	defer func() { p.menu = outer }()
	cmd := &menuCommand{menu: menu, verb: verb, args: map[string]expr{}, nested: p.nested}
	for {
		p.blanks()
		if p.atEnd() {
			return cmd, nil
		}
		if p.atWhere(cmd) {
			return cmd, p.parseWhere(cmd)
		}
		if err := p.argument(cmd); err != nil {
			return nil, err
		}
		if !p.atEnd() && !isBlank(p.peek()) {
			return nil, p.fail(p.pos, "expected end of command")
		}
	}
}

// atWhere consumes the keyword. "find" does not need it.
func (p *parser) atWhere(cmd *menuCommand) bool {
	if !p.console.HasArgument(cmd.path(), "where") {
		return false
	}
	start := p.pos
	if p.take(isWord) == "where" && p.peek() != '=' {
		return true
	}
	p.pos = start
	return cmd.verb == "find"
}

func (c *menuCommand) path() string { return c.menu + "/" + c.verb }

// argument reads name=value, a flag, or a value without a name.
func (p *parser) argument(cmd *menuCommand) error {
	start := p.pos
	if !isLetter(p.peek()) && p.peek() != '.' {
		return p.positional(cmd)
	}
	name := p.take(isWord)
	if p.accept("=") {
		if !p.console.HasArgument(cmd.path(), name) {
			return p.fail(start, "bad parameter "+name)
		}
		value, err := p.value()
		cmd.args[name] = value
		return err
	}
	if (p.atEnd() || isBlank(p.peek())) && isFlag(name) && p.console.HasArgument(cmd.path(), name) {
		cmd.args[name] = constant{true}
		return nil
	}
	p.pos = start
	return p.positional(cmd)
}

// isFlag: arguments that stand alone.
func isFlag(name string) bool {
	switch name {
	case "as-value", "brief", "count-only", "detail", "once", "show-ids", "stats", "terse",
		"value-list", "without-paging", "as-string", "as-string-value", "show-sensitive", "recursive",
		"follow", "follow-only", "follow-strict", "stats-detail", "oid", "append", "relative", "show-hidden":
		return true
	}
	return false
}

func (p *parser) positional(cmd *menuCommand) error {
	start := p.pos
	value, err := p.value()
	if err != nil {
		return err
	}
	for _, name := range positionals {
		_, given := cmd.args[name]
		if !given && p.console.HasArgument(cmd.path(), name) {
			cmd.args[name] = value
			return nil
		}
	}
	if word, ok := value.(bare); ok && isLetter(word.text[0]) {
		return p.fail(start, "bad parameter "+word.text)
	}
	return p.fail(start, "expected end of command")
}

// parseWhere reads conditions up to the end of the command; conditions side by
// side must all hold.
func (p *parser) parseWhere(cmd *menuCommand) error {
	outer := p.where
	p.where = cmd.menu
	defer func() { p.where = outer }()
	for {
		p.blanks()
		if p.atEnd() {
			return nil
		}
		cond, err := p.expression()
		if err != nil {
			return err
		}
		if cmd.where == nil {
			cmd.where = cond
			continue
		}
		cmd.where = &binary{op: "and", left: cmd.where, right: cond}
	}
}

// value reads what may follow "name=".
func (p *parser) value() (expr, error) {
	switch p.peek() {
	case '"':
		return p.quoted()
	case '$':
		return p.variable()
	case '[':
		return p.substitution()
	case '(':
		return p.parenthesised()
	case '{':
		return p.array()
	}
	word := p.take(isBare)
	if word == "" {
		return nil, p.fail(p.pos, "expected input value")
	}
	return bare{word}, nil
}

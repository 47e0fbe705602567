package script

// eval runs a command of the tree. Arguments, and the substitutions inside
// "where", are evaluated before it: each is a console command of its own, so
// another session may come between.
func (c *menuCommand) eval(f *frame) (Value, error) {
	call := &Call{Menu: c.menu, Verb: c.verb, Nested: c.nested, Print: f.in.print, Args: map[string]Value{}}
	for name, arg := range c.args {
		v, err := menuArgument(f, arg)
		if err != nil {
			return nil, err
		}
		call.Args[name] = v
	}
	if c.where != nil {
		cond, err := bind(f, c.where)
		if err != nil {
			return nil, err
		}
		call.Where = &Filter{cond: cond, frame: f}
	}
	return f.in.console.Run(f.in.ctx, call)
}

// menuArgument keeps an unquoted word as it is written: the argument's type
// decides what 007 or yes means.
func menuArgument(f *frame, arg expr) (Value, error) {
	if word, ok := arg.(bare); ok {
		return word.text, nil
	}
	return arg.eval(f)
}

// bind replaces substitutions by their values.
func bind(f *frame, e expr) (expr, error) {
	switch e := e.(type) {
	case *substitution:
		v, err := e.eval(f)
		return constant{v}, err
	case *binary:
		left, err := bind(f, e.left)
		if err != nil {
			return nil, err
		}
		right, err := bind(f, e.right)
		return &binary{op: e.op, left: left, right: right}, err
	case *unary:
		operand, err := bind(f, e.operand)
		return &unary{op: e.op, operand: operand}, err
	case *index:
		list, err := bind(f, e.list)
		if err != nil {
			return nil, err
		}
		key, err := bind(f, e.key)
		return &index{list: list, key: key}, err
	case *template:
		return bindTemplate(f, e)
	case *array:
		return bindArray(f, e)
	}
	return e, nil
}

func bindTemplate(f *frame, t *template) (expr, error) {
	bound := &template{parts: make([]expr, len(t.parts))}
	for i, part := range t.parts {
		b, err := bind(f, part)
		if err != nil {
			return nil, err
		}
		bound.parts[i] = b
	}
	return bound, nil
}

func bindArray(f *frame, a *array) (expr, error) {
	bound := &array{entries: make([]arrayEntry, len(a.entries))}
	for i, entry := range a.entries {
		b, err := bind(f, entry.value)
		if err != nil {
			return nil, err
		}
		entry.value = b
		bound.entries[i] = entry
	}
	return bound, nil
}

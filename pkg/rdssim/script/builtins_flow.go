package script

import "errors"

func runIf(f *frame, b *builtin) (Value, error) {
	v, err := b.argument(f, 0)
	if err != nil {
		return nil, err
	}
	cond, ok := v.(bool)
	if !ok {
		return nil, Errorf("conditional not boolean")
	}
	if cond {
		return b.named["do"].eval(f)
	}
	if otherwise := b.named["else"]; otherwise != nil {
		return otherwise.eval(f)
	}
	return nil, nil
}

// body runs a loop's block with variables of its own.
func body(f *frame, block expr, vars map[string]Value) error {
	inner := &frame{in: f.in, scope: &scope{parent: f.scope, vars: vars}}
	if err := f.in.step(); err != nil {
		return err
	}
	_, err := block.eval(inner)
	return err
}

// runForeach visits values, or keys and values where two names are given.
func runForeach(f *frame, b *builtin) (Value, error) {
	in, err := b.named["in"].eval(f)
	if err != nil || in == nil {
		return nil, err
	}
	list, ok := in.(*List)
	if !ok {
		list = NewList(in)
	}
	for i, e := range list.Entries {
		vars := map[string]Value{b.names[len(b.names)-1]: e.Value}
		if len(b.names) > 1 {
			vars[b.names[0]] = entryKey(e, i)
		}
		if err := body(f, b.named["do"], vars); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func entryKey(e Entry, i int) Value {
	if e.Keyed {
		return e.Key
	}
	return int64(i)
}

func runFor(f *frame, b *builtin) (Value, error) {
	bounds := map[string]int64{"step": 1}
	for _, name := range []string{"from", "to", "step"} {
		if b.named[name] == nil {
			continue
		}
		v, err := b.named[name].eval(f)
		if err != nil {
			return nil, err
		}
		n, ok := v.(int64)
		if !ok {
			return nil, Errorf("invalid value for argument %s", name)
		}
		bounds[name] = n
	}
	if bounds["step"] == 0 {
		return nil, Errorf("invalid value for argument step")
	}
	for i := bounds["from"]; inRange(i, bounds["to"], bounds["step"]); i += bounds["step"] {
		if err := body(f, b.named["do"], map[string]Value{b.names[0]: i}); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func inRange(i, to, step int64) bool {
	if step > 0 {
		return i <= to
	}
	return i >= to
}

func runWhile(f *frame, b *builtin) (Value, error) {
	for {
		again, err := holds(f, b.positional[0])
		if err != nil || !again {
			return nil, err
		}
		if err := body(f, b.named["do"], map[string]Value{}); err != nil {
			return nil, err
		}
	}
}

func holds(f *frame, e expr) (bool, error) {
	v, err := e.eval(f)
	if err != nil {
		return false, err
	}
	return condition(f, v)
}

func runDo(f *frame, b *builtin) (Value, error) {
	for {
		v, err := b.positional[0].eval(f)
		if handler := b.named["on-error"]; caught(err) && handler != nil {
			return handler.eval(f)
		}
		if err != nil || b.named["while"] == nil {
			return v, err
		}
		if again, err := holds(f, b.named["while"]); err != nil || !again {
			return v, err
		}
		if err := f.in.step(); err != nil {
			return nil, err
		}
	}
}

// runOnError answers whether there was an error; its variable has the text.
func runOnError(f *frame, b *builtin) (Value, error) {
	_, err := b.named["in"].eval(f)
	if !caught(err) {
		return false, err
	}
	return true, body(f, b.named["do"], map[string]Value{b.names[0]: err.Error()})
}

// caught tells an error of a command from :return and from the session's end.
func caught(err error) bool {
	var e *Error
	return errors.As(err, &e)
}

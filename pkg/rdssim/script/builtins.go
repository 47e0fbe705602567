package script

var (
	oneValue = []form{formValue}
	doBlock  = map[string]form{"do": formBlock}
)

// builtins are the language's own commands.
var builtins = commandTable()

func commandTable() map[string]signature {
	return map[string]signature{
		"put":     {run: runPut, positional: oneValue, named: map[string]form{"message": formValue}},
		"local":   {run: runLocal, positional: []form{formNames, formValue}, required: 1},
		"set":     {run: runSet, positional: []form{formNames, formValue}, required: 1},
		"error":   {run: runError, positional: oneValue, named: map[string]form{"message": formValue}},
		"return":  {run: runReturn, positional: oneValue},
		"len":     {run: runLen, positional: oneValue, required: 1},
		"typeof":  {run: runTypeof, positional: oneValue, required: 1},
		"tostr":   {run: runTostr, positional: oneValue, required: 1},
		"tonum":   {run: runTonum, positional: oneValue, required: 1},
		"toarray": {run: runToarray, positional: oneValue, required: 1},
		"pick":    {run: runPick, positional: []form{formValue, formValue, formValue}, required: 2},
		"find":    {run: runFind, positional: []form{formValue, formValue, formValue}, required: 2},
		"if": {run: runIf, positional: oneValue, required: 1, needs: []string{"do"},
			named: map[string]form{"do": formBlock, "else": formBlock}},
		"foreach": {run: runForeach, positional: []form{formNames}, required: 1, needs: []string{"in", "do"},
			named: map[string]form{"in": formValue, "do": formBlock}},
		"for": {run: runFor, positional: []form{formNames}, required: 1, needs: []string{"from", "to", "do"},
			named: map[string]form{"from": formValue, "to": formValue, "step": formValue, "do": formBlock}},
		"while": {run: runWhile, positional: oneValue, required: 1, needs: []string{"do"}, named: doBlock},
		"do": {run: runDo, positional: []form{formBlock}, required: 1,
			named: map[string]form{"on-error": formBlock, "while": formValue}},
		"onerror": {run: runOnError, positional: []form{formNames}, required: 1, needs: []string{"in", "do"},
			named: map[string]form{"in": formBlock, "do": formBlock}, major: 7, minor: 13},
		"serialize": {run: runSerialize, positional: oneValue, needs: []string{"to"}, major: 7, minor: 13,
			named: map[string]form{"to": formValue, "value": formValue, "options": formValue}},
		"parse": {run: runParse, positional: oneValue, required: 1},
	}
}

// argument evaluates a positional argument; nothing where it is missing.
func (b *builtin) argument(f *frame, i int) (Value, error) {
	if i >= len(b.positional) {
		return nil, nil
	}
	return b.positional[i].eval(f)
}

// either evaluates an argument that may be given with or without its name.
func (b *builtin) either(f *frame, name string) (Value, error) {
	if e := b.named[name]; e != nil {
		return e.eval(f)
	}
	return b.argument(f, 0)
}

func runPut(f *frame, b *builtin) (Value, error) {
	v, err := b.either(f, "message")
	if err != nil {
		return nil, err
	}
	f.in.print(Text(v) + "\r\n")
	return nil, nil
}

func runError(f *frame, b *builtin) (Value, error) {
	v, err := b.either(f, "message")
	if err != nil {
		return nil, err
	}
	return nil, &Error{Text: Text(v)}
}

func runReturn(f *frame, b *builtin) (Value, error) {
	v, err := b.argument(f, 0)
	if err != nil {
		return nil, err
	}
	return nil, returned{v}
}

func runLocal(f *frame, b *builtin) (Value, error) {
	v, err := b.argument(f, 0)
	if err != nil {
		return nil, err
	}
	f.scope.vars[b.names[0]] = v
	return nil, nil
}

func runSet(f *frame, b *builtin) (Value, error) {
	v, err := b.argument(f, 0)
	if err != nil {
		return nil, err
	}
	s := f.scope.find(b.names[0])
	if s == nil {
		return nil, Errorf("variable %s is not declared", b.names[0])
	}
	s.vars[b.names[0]] = v
	return nil, nil
}

// runParse checks a command's names without running it. It never fails: what
// is wrong is in the value.
func runParse(f *frame, b *builtin) (Value, error) {
	v, err := b.argument(f, 0)
	if err != nil {
		return nil, err
	}
	if _, err := f.in.parse(Text(v), f.in.console); err != nil {
		return err.Error(), nil
	}
	return "(evl " + Text(v) + ")", nil
}

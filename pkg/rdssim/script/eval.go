package script

import (
	"context"
	"errors"
	"strings"
)

// maxSteps bounds the commands of one line, so that a loop without end ends.
const maxSteps = 1_000_000

// interpreter is one run of one line.
type interpreter struct {
	ctx      context.Context
	console  Console
	parse    func(line string, console Console) (*Script, error)
	print    func(string)
	steps    int
	patterns map[string]*pattern
}

// frame is where an expression is evaluated: the variables it sees and, inside
// "where", the item's properties.
type frame struct {
	in     *interpreter
	scope  *scope
	lookup func(property string) (Value, bool)
}

// scope holds the variables of a block.
type scope struct {
	parent *scope
	vars   map[string]Value
}

func (s *scope) find(name string) *scope {
	for ; s != nil; s = s.parent {
		if _, ok := s.vars[name]; ok {
			return s
		}
	}
	return nil
}

func (f *frame) child() *frame {
	return &frame{in: f.in, scope: &scope{parent: f.scope, vars: map[string]Value{}}, lookup: f.lookup}
}

// Run carries the script out. print receives what it prints, with the
// console's line ends. The error's text is what the console says.
func (s *Script) Run(ctx context.Context, console Console, print func(string)) error {
	in := &interpreter{ctx: ctx, console: console, parse: Parse, print: print, patterns: map[string]*pattern{}}
	_, err := s.body.eval(&frame{in: in})
	var done returned
	if errors.As(err, &done) {
		return nil
	}
	return err
}

func (b block) eval(f *frame) (Value, error) {
	inner := f.child()
	var last Value
	for _, cmd := range b {
		if err := f.in.step(); err != nil {
			return nil, err
		}
		v, err := cmd.eval(inner)
		if err != nil {
			return nil, err
		}
		last = v
	}
	return last, nil
}

func (in *interpreter) step() error {
	if err := in.ctx.Err(); err != nil {
		return err
	}
	if in.steps++; in.steps > maxSteps {
		return Errorf("script stopped after %d commands", maxSteps)
	}
	return nil
}

func (c constant) eval(*frame) (Value, error) { return c.value, nil }

func (b bare) eval(*frame) (Value, error) { return literal(b.text), nil }

// A variable with the name of a property is that property inside "where":
// "where slot=$slot" compares the item with itself.
func (v variable) eval(f *frame) (Value, error) {
	if f.lookup != nil {
		if value, ok := f.lookup(v.name); ok {
			return value, nil
		}
	}
	if s := f.scope.find(v.name); s != nil {
		return s.vars[v.name], nil
	}
	return nil, nil
}

func (p property) eval(f *frame) (Value, error) {
	v, _ := f.lookup(p.name)
	return v, nil
}

func (t *template) eval(f *frame) (Value, error) {
	var text strings.Builder
	for _, part := range t.parts {
		v, err := part.eval(f)
		if err != nil {
			return nil, err
		}
		text.WriteString(Text(v))
	}
	return text.String(), nil
}

func (s *substitution) eval(f *frame) (Value, error) {
	return s.body.eval(f)
}

func (ix *index) eval(f *frame) (Value, error) {
	list, err := ix.list.eval(f)
	if err != nil {
		return nil, err
	}
	key, err := ix.key.eval(f)
	if err != nil {
		return nil, err
	}
	if l, ok := list.(*List); ok {
		return l.Get(key), nil
	}
	return nil, nil
}

func (a *array) eval(f *frame) (Value, error) {
	l := &List{}
	for _, e := range a.entries {
		v, err := e.value.eval(f)
		if err != nil {
			return nil, err
		}
		if e.keyed {
			l.Put(e.key, v)
			continue
		}
		l.Append(v)
	}
	return l, nil
}

func (b *builtin) eval(f *frame) (Value, error) { return b.run(f, b) }

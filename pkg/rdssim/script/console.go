package script

import "context"

// Kind is what a path of the console tree names.
type Kind int

// The kinds of node. A path that is not in the tree is None.
const (
	None Kind = iota
	Menu
	Command
)

// Console is the command tree a script runs on.
type Console interface {
	// Kind says what a path such as "/disk" or "/disk/add" is.
	Kind(path string) Kind
	// HasArgument reports whether a command takes the argument.
	HasArgument(command, argument string) bool
	// HasProperty reports whether items of the menu have the property, so
	// that "where" can name it.
	HasProperty(menu, property string) bool
	// AtLeast reports whether the release is this one or newer.
	AtLeast(major, minor int) bool
	// Run carries out one command and returns its value.
	Run(ctx context.Context, call *Call) (Value, error)
}

// Call is one console command with its arguments evaluated.
type Call struct {
	Menu   string           // "/disk"
	Verb   string           // "add"
	Args   map[string]Value // a flag such as "detail" is true
	Where  *Filter          // nil selects all
	Nested bool             // inside [ ]: the value is used
	Print  func(text string)
}

// Flag reports whether an argument without a value, such as "as-value", is
// given.
func (c *Call) Flag(name string) bool {
	on, _ := c.Args[name].(bool)
	return on
}

// Filter is the "where" part of a command.
type Filter struct {
	cond  expr
	frame *frame
}

// Match evaluates the condition over one item. lookup returns a property's
// value and whether the menu has that property at all.
func (f *Filter) Match(lookup func(property string) (Value, bool)) (bool, error) {
	if f == nil {
		return true, nil
	}
	row := *f.frame
	row.lookup = lookup
	v, err := f.cond.eval(&row)
	return truth(v), err
}

package script

// expr is anything with a value.
type expr interface {
	eval(f *frame) (Value, error)
}

// Script is a parsed line, ready to run.
type Script struct {
	body block
}

// block is a sequence of commands with a scope of its own; its value is that
// of its last command.
type block []expr

// Leaves.
type (
	constant struct{ value Value }
	// bare is an unquoted word. Menus read it as text, the language gives it
	// a type.
	bare     struct{ text string }
	variable struct{ name string }
	// property is a name in "where".
	property struct{ name string }
)

// Compound expressions.
type (
	template struct{ parts []expr } // a string with $ in it
	binary   struct {
		op          string
		left, right expr
	}
	unary struct {
		op      string
		operand expr
	}
	index struct{ list, key expr }
	array struct{ entries []arrayEntry }
	// substitution is [ … ].
	substitution struct{ body block }
)

type arrayEntry struct {
	key   string
	keyed bool
	value expr
}

// menuCommand is a command of the tree.
type menuCommand struct {
	menu, verb string
	args       map[string]expr
	where      expr
	nested     bool
}

// builtin is a command of the language, such as :put.
type builtin struct {
	run        func(f *frame, b *builtin) (Value, error)
	positional []expr
	names      []string
	named      map[string]expr
}

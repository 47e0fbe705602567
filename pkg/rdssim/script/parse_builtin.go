package script

// form is how an argument of a builtin is read.
type form int

const (
	formValue form = iota
	formBlock      // { commands }
	formNames      // a, b: variable names
)

// signature is a builtin: what it takes and what it does.
type signature struct {
	run        func(f *frame, b *builtin) (Value, error)
	positional []form
	required   int
	named      map[string]form
	needs      []string
	major      int // first release with it, 0 if older than 7.9
	minor      int
}

// builtin reads a command of the language. at is where its name begins.
func (p *parser) builtin(at int, name string) (expr, error) {
	sig, known := builtins[name]
	if !known || !p.console.AtLeast(sig.major, sig.minor) {
		return nil, p.fail(at, "bad command name "+name)
	}
	b := &builtin{run: sig.run, named: map[string]expr{}}
	outer := p.nested
	p.nested = false
	err := p.builtinArguments(name, sig, b)
	p.nested = outer
	if err != nil {
		return nil, err
	}
	if len(b.positional)+len(b.names) < sig.required {
		return nil, p.fail(p.pos, "expected input value")
	}
	for _, arg := range sig.needs {
		if b.named[arg] == nil {
			return nil, p.fail(p.pos, "expected "+arg+"=")
		}
	}
	return b, nil
}

func (p *parser) builtinArguments(name string, sig signature, b *builtin) error {
	for given := 0; ; {
		p.blanks()
		if p.atEnd() {
			return nil
		}
		named, err := p.namedArgument(name, sig, b)
		if err != nil {
			return err
		}
		if !named {
			if given == len(sig.positional) {
				return p.unexpected()
			}
			if err := p.positionalOf(sig.positional[given], b); err != nil {
				return err
			}
			given++
		}
		if !p.atEnd() && !isBlank(p.peek()) {
			return p.fail(p.pos, "expected end of command")
		}
	}
}

// unexpected names an argument the builtin does not take.
func (p *parser) unexpected() error {
	start := p.pos
	if word := p.take(isWord); word != "" && p.peek() == '=' {
		return p.fail(start, "bad parameter "+word)
	}
	return p.fail(start, "expected end of command")
}

// namedArgument consumes name=value where the builtin has that argument.
func (p *parser) namedArgument(name string, sig signature, b *builtin) (bool, error) {
	start := p.pos
	arg := p.take(isWord)
	f, known := sig.named[arg]
	if !known || !p.accept("=") {
		p.pos = start
		return false, nil
	}
	if since := introduced[name+" "+arg]; !p.console.AtLeast(since[0], since[1]) {
		return false, p.fail(start, "bad parameter "+arg)
	}
	value, err := p.formed(f)
	if err != nil {
		return false, err
	}
	b.named[arg] = value
	return true, p.checkOption(start, name, arg, value)
}

func (p *parser) positionalOf(f form, b *builtin) error {
	if f == formNames {
		names, err := p.names()
		b.names = names
		return err
	}
	value, err := p.formed(f)
	b.positional = append(b.positional, value)
	return err
}

func (p *parser) formed(f form) (expr, error) {
	if f == formBlock {
		return p.braced()
	}
	return p.value()
}

// names reads variable names separated by commas.
func (p *parser) names() ([]string, error) {
	var names []string
	for {
		name, err := p.name()
		if err != nil {
			return nil, err
		}
		names = append(names, name)
		if !p.accept(",") {
			return names, nil
		}
	}
}

func (p *parser) name() (string, error) {
	if p.peek() == '"' {
		return p.plainString()
	}
	if !isLetter(p.peek()) {
		return "", p.syntax()
	}
	return p.take(isName), nil
}

// introduced is when an argument of a builtin came (facts: console tree).
var introduced = map[string][2]int{
	"serialize options":   {7, 16},
	"serialize order":     {7, 16},
	"serialize delimiter": {7, 16},
}

// serializeOptions are the values of options= and the release they came in.
var serializeOptions = map[string][2]int{
	"json.pretty":               {7, 16},
	"json.no-string-conversion": {7, 17},
}

// checkOption refuses enum values written in the line that the release does
// not have: such a line does not parse.
func (p *parser) checkOption(at int, name, arg string, value expr) error {
	if name != "serialize" || arg != "options" {
		return nil
	}
	for _, word := range words(value) {
		since, known := serializeOptions[word]
		if !known || !p.console.AtLeast(since[0], since[1]) {
			return p.fail(at, "input does not match any value of options")
		}
	}
	return nil
}

// words are the constant words of a value such as a or (a,b).
func words(e expr) []string {
	switch e := e.(type) {
	case bare:
		return []string{e.text}
	case constant:
		return []string{Text(e.value)}
	case *binary:
		return append(words(e.left), words(e.right)...)
	}
	return nil
}

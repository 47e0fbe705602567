package script

import (
	"regexp"
	"regexp/syntax"
	"strings"
)

// pattern is a compiled regular expression of the ~ operator.
type pattern struct {
	re *regexp.Regexp
	// literal is text that every match contains: looking for it first spares
	// most items of a long list the expression.
	literal string
}

// compile reads a POSIX extended regular expression. Whether it matches does
// not depend on which match is found, so the faster leftmost-first search
// does.
func compile(text string) (*pattern, error) {
	if _, err := regexp.CompilePOSIX(text); err != nil {
		return nil, Errorf("invalid regular expression %q", text)
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, Errorf("invalid regular expression %q", text)
	}
	return &pattern{re: re, literal: required(text)}, nil
}

// required is the longest literal among the parts of a concatenation.
func required(text string) string {
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return ""
	}
	parts := []*syntax.Regexp{tree}
	if tree = tree.Simplify(); tree.Op == syntax.OpConcat {
		parts = tree.Sub
	}
	longest := ""
	for _, part := range parts {
		if part.Op == syntax.OpLiteral && part.Flags&syntax.FoldCase == 0 && len(part.Rune) > len(longest) {
			longest = string(part.Rune)
		}
	}
	return longest
}

func (p *pattern) match(text string) bool {
	return strings.Contains(text, p.literal) && p.re.MatchString(text)
}

// regexMatch compiles each pattern once per line: "where" tries it on every
// item.
func (in *interpreter) regexMatch(text, expression string) (Value, error) {
	p, ok := in.patterns[expression]
	if !ok {
		var err error
		if p, err = compile(expression); err != nil {
			return nil, err
		}
		in.patterns[expression] = p
	}
	return p.match(text), nil
}

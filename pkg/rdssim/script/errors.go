package script

import "fmt"

// SyntaxError is a line that does not parse. Nothing of it has run.
type SyntaxError struct {
	Text   string // what is wrong, in the console's words
	Column int    // 1-based byte offset in the line
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s (line 1 column %d)", e.Text, e.Column)
}

// Error is a failure at run time. Its text is all that the console prints, and
// what :onerror hands to its variable.
type Error struct{ Text string }

func (e *Error) Error() string { return e.Text }

// Errorf makes a runtime error.
func Errorf(format string, args ...any) error {
	return &Error{Text: fmt.Sprintf(format, args...)}
}

// returned carries the value of :return up to where the script began.
type returned struct{ value Value }

func (returned) Error() string { return "return outside of a script" }
